package telemetry

import "sync"

// cache keeps what was built for a key, so that building happens once and
// looking up does not allocate. It keeps at most the given number; keys
// beyond those share what belongs to the key rest.
type cache[K comparable, V any] struct {
	build func(K) *V
	rest  *V
	most  int

	mu      sync.RWMutex
	entries map[K]*V
}

// init gives a zero cache its parts.
func (c *cache[K, V]) init(most int, rest K, build func(K) *V) {
	c.most, c.build, c.rest = most, build, build(rest)
	c.entries = map[K]*V{rest: c.rest}
}

func (c *cache[K, V]) get(k K) *V {
	c.mu.RLock()
	v := c.entries[k]
	c.mu.RUnlock()
	if v != nil {
		return v
	}
	return c.add(k)
}

func (c *cache[K, V]) add(k K) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.entries[k]; v != nil {
		return v
	}
	if len(c.entries) >= c.most {
		return c.rest
	}
	v := c.build(k)
	c.entries[k] = v
	return v
}
