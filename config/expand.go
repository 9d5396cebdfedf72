package config

import (
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expanded is a text after its variables were filled in.
type expanded struct {
	text  string
	unset []string // variables without a value; placeholders stand for them
	bad   bool     // a ${ that is no variable
}

// expand fills in ${NAME} and ${NAME:-default}, the default also when NAME is
// empty, and turns $$ into $. A lone $ stays: templates use it.
func expand(s string, env func(string) (string, bool)) expanded {
	var out strings.Builder
	var e expanded
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			out.WriteString(s)
			e.text = out.String()
			return e
		}
		out.WriteString(s[:i])
		rest := s[i+1:]
		switch rest[0] {
		case '$':
			out.WriteByte('$')
			s = rest[1:]
		case '{':
			body, after, closed := strings.Cut(rest[1:], "}")
			e.variable(&out, body, closed, env)
			s = after
		default:
			out.WriteByte('$')
			s = rest
		}
	}
}

func (e *expanded) variable(out *strings.Builder, body string, closed bool, env func(string) (string, bool)) {
	name, fallback, hasFallback := strings.Cut(body, ":-")
	if !closed || !variableName.MatchString(name) {
		e.bad = true
		return
	}
	switch v, ok := env(name); {
	case ok && (v != "" || !hasFallback):
		out.WriteString(v)
	case hasFallback:
		out.WriteString(fallback)
	default:
		e.unset = append(e.unset, name)
		out.WriteString(placeholder(name))
	}
}

// placeholder stands for a value we do not have. It is a plain word, so that
// it passes as a header, a host or a path element.
func placeholder(name string) string {
	return "placeholder-" + strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

// expandTree fills in the variables of a part of the file. A lenient part
// gets placeholders for unset ones without a word.
func (l *loader) expandTree(n Node, lenient bool) {
	v := n.val
	if v == nil {
		return
	}
	switch v.kind {
	case mapping:
		for i, key := range v.keys {
			l.expandTree(n.Get(key), lenient)
			if lenient && strings.HasSuffix(key, "_file") {
				v.vals[i].unresolved = true // not read, see fileText
			}
		}
	case sequence:
		for _, item := range n.list() {
			l.expandTree(item, lenient)
		}
	default:
		l.expandScalar(n, lenient)
	}
}

func (l *loader) expandScalar(n Node, lenient bool) {
	if n.val.unresolved || !strings.Contains(n.val.raw, "$") {
		return
	}
	e := expand(n.val.raw, l.o.Env)
	n.val.text = e.text
	n.val.unresolved = e.bad || len(e.unset) > 0
	if e.bad {
		l.report(n.Errorf("", "has a ${ that is not a variable", "write ${NAME}, ${NAME:-default}, or $$ for a dollar sign"))
	}
	if lenient {
		return
	}
	for _, name := range e.unset {
		l.report(n.Errorf("", "environment variable "+name+" is not set",
			"export it, or write ${"+name+":-...} for a default"))
	}
}
