package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The bounds of a regular expression.
const (
	// maxRegexp bounds what it is compiled to, in instructions.
	maxRegexp = 2_000
	// maxRegexpText bounds the text of one that comes from an event, in bytes.
	maxRegexpText = 1_000
)

// regexSize is about how many instructions a regular expression is compiled to,
// found without compiling it: a{1,50} nested four times is millions.
func regexSize(text string) (int, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	var wrong *syntax.Error
	if errors.As(err, &wrong) {
		return 0, fmt.Errorf("is no regular expression: %s: %s", wrong.Code, short(wrong.Expr))
	}
	if err != nil {
		return 0, err
	}
	size := treeSize(tree)
	if size > maxRegexp {
		return 0, fmt.Errorf("the regular expression is too large, with about %d steps; at most %d", size, maxRegexp)
	}
	return size, nil
}

// treeSize counts instructions, up to a little more than maxRegexp.
func treeSize(t *syntax.Regexp) int {
	n := 1
	switch t.Op {
	case syntax.OpLiteral:
		n = len(t.Rune)
	case syntax.OpCapture:
		n = 2
	case syntax.OpCharClass:
		n = 1 + len(t.Rune)/8
	}
	for _, sub := range t.Sub {
		n += treeSize(sub)
		if n > maxRegexp {
			return n
		}
	}
	if t.Op == syntax.OpRepeat {
		n *= max(t.Min, t.Max, 1)
	}
	return min(n, 1_000_000)
}

// sizeOfEvents is regexSize for one that may come from an event.
func sizeOfEvents(text string) (int, error) {
	if len(text) > maxRegexpText {
		return 0, fmt.Errorf("the regular expression is too large, with %d characters; at most %d", len(text), maxRegexpText)
	}
	return regexSize(text)
}

// regexPrice is that of a regular expression that is compiled for each call,
// and read before for its size: a class such as \pL makes much of little. One
// that is wrong is left to the call to tell.
func regexPrice(m *meter, a, b, _ ref.Val) {
	units := 20
	if strings.Contains(text(b), `\p`) || strings.Contains(text(b), `\P`) || strings.Contains(text(b), `(?`) {
		units = 300
	}
	m.spend(units * min(length(b), maxRegexpText))
	size, err := sizeOfEvents(text(b))
	if err != nil {
		return
	}
	m.spend(10 * size)
	matchPrice(m, length(a), size)
}

// regexAllPrice takes each character for a match.
func regexAllPrice(m *meter, a, b, _ ref.Val) {
	regexPrice(m, a, b, nil)
	m.spend(8 * length(a))
}

// matchPrice is that of a match: the work of RE2 is bounded by the product.
func matchPrice(m *meter, length, size int) { m.spend(length * (size + 2) / 10) }

// regexReplacePrice takes every place for a match, and every \1 for all of the text.
func regexReplacePrice(m *meter, a, b, c ref.Val) {
	regexAllPrice(m, a, b, nil)
	m.spend(((length(a)+1)*(1+length(c)) + strings.Count(text(c), `\`)*length(a)) / unitMade)
}

// checkedRegex refuses regular expressions that are too large to be compiled.
func checkedRegex(call func(*meter, []ref.Val) ref.Val) func(*meter, []ref.Val) ref.Val {
	return func(m *meter, args []ref.Val) ref.Val {
		if len(args) > 1 {
			if _, err := sizeOfEvents(text(args[1])); err != nil {
				return types.WrapErr(err)
			}
		}
		return call(m, args)
	}
}

// matcher is matches() with a regular expression that is known before.
type matcher struct {
	re   *regexp.Regexp
	size int
}

func newMatcher(text string) (*matcher, error) {
	size, err := regexSize(text)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &matcher{re, size}, nil
}

func (r *matcher) price(m *meter, a, _, _ ref.Val) { matchPrice(m, length(a), r.size) }

func (r *matcher) invoke(_ *meter, args []ref.Val) ref.Val {
	s, ok := args[0].(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	return types.Bool(r.re.MatchString(string(s)))
}
