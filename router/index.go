package router

import (
	"maps"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
)

// routeSet is a set of route numbers, as bits.
type routeSet []uint64

func newRouteSet(routes int) routeSet { return make(routeSet, (routes+63)/64) }

func (s routeSet) add(i int) { s[i/64] |= 1 << (i % 64) }

// size is how many numbers are in the set.
func (s routeSet) size() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// each calls f with every number in the set, lowest first.
func (s routeSet) each(f func(i int)) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			f(w*64 + bits.TrailingZeros64(word))
		}
	}
}

// node is a place in the tree of all patterns, one level a token.
type node struct {
	literal map[string]*node
	star    *node
	here    []int // routes with a pattern that ends here
	rest    []int // routes with a pattern that goes on with ">"
}

// insert adds a pattern of a route.
func (n *node) insert(p Pattern, route int) {
	for token := range strings.SplitSeq(p.text, ".") {
		if token == ">" {
			n.rest = append(n.rest, route)
			return
		}
		n = n.child(token)
	}
	n.here = append(n.here, route)
}

func (n *node) child(token string) *node {
	if token == "*" {
		if n.star == nil {
			n.star = &node{}
		}
		return n.star
	}
	if n.literal == nil {
		n.literal = make(map[string]*node)
	}
	next, ok := n.literal[token]
	if !ok {
		next = &node{}
		n.literal[token] = next
	}
	return next
}

// match adds to set the routes of which a pattern matches the tokens. The
// token at index noStar is matched by no "*"; -1 for none.
func (n *node) match(tokens []string, noStar int, set routeSet) {
	if len(tokens) == 0 {
		for _, r := range n.here {
			set.add(r)
		}
		return
	}
	for _, r := range n.rest {
		set.add(r)
	}
	if next, ok := n.literal[tokens[0]]; ok {
		next.match(tokens[1:], noStar-1, set)
	}
	if n.star != nil && noStar != 0 {
		n.star.match(tokens[1:], noStar-1, set)
	}
}

// cacheSize bounds the subjects whose decision is remembered. A sender has a
// few hundred types; a stream of made-up ones must not grow memory.
const cacheSize = 4096

// cache remembers values by subject. Reading takes no lock; new subjects are
// gathered and published together, so that filling it is not quadratic. Once
// full it keeps what it has. The zero cache is ready.
type cache[V any] struct {
	read  atomic.Pointer[map[string]V]
	mu    sync.Mutex
	fresh map[string]V // not in read yet
	asked int          // how often fresh was asked since it was last published
}

// get returns the value for subject, making it with create when it is new.
// create may be called more than once for a subject.
func (c *cache[V]) get(subject string, create func(string) V) V {
	if m := c.read.Load(); m != nil {
		if v, ok := (*m)[subject]; ok {
			return v
		}
		if len(*m) >= cacheSize {
			return create(subject)
		}
	}
	return c.slow(subject, create)
}

func (c *cache[V]) slow(subject string, create func(string) V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := 0
	if m := c.read.Load(); m != nil {
		if v, ok := (*m)[subject]; ok {
			return v
		}
		known = len(*m)
	}
	v, ok := c.fresh[subject]
	if !ok {
		v = create(subject)
		if known+len(c.fresh) < cacheSize {
			c.keep(subject, v)
		}
	}
	if c.asked++; c.asked > len(c.fresh)+known/4 || known+len(c.fresh) >= cacheSize {
		c.publish()
	}
	return v
}

// keep remembers v. The key is a copy: the caller's string may be a part of
// something much larger.
func (c *cache[V]) keep(subject string, v V) {
	if c.fresh == nil {
		c.fresh = make(map[string]V)
	}
	c.fresh[strings.Clone(subject)] = v
}

func (c *cache[V]) publish() {
	merged := make(map[string]V)
	if m := c.read.Load(); m != nil {
		maps.Copy(merged, *m)
	}
	maps.Copy(merged, c.fresh)
	c.read.Store(&merged)
	c.fresh, c.asked = nil, 0
}
