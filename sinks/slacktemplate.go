package sinks

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode/utf8"

	"github.com/penstock/penstock/config"
)

// A template of a message is a text/template, changed after it is parsed in
// two ways. What it prints is escaped unless it says raw, so that nothing in
// an event can mention a channel or break a link. And a path that an event
// does not have is a value, which default replaces and printing refuses: no
// message ever says "<no value>".

// textTemplate makes text of events. It is safe for concurrent use.
type textTemplate struct {
	node config.Node // where it stands, for errors
	key  string
	tmpl *template.Template
}

// newTemplate parses text, which stands in node under key. escape makes its
// output mrkdwn; else it is plain.
func newTemplate(node config.Node, key, text string, escape bool) (*textTemplate, config.Mistakes) {
	t := &textTemplate{node: node, key: key}
	parsed, err := template.New("text").Option("missingkey=error").Funcs(templateFuncMap(escape)).Parse(text)
	if err != nil {
		return nil, config.Mistakes{t.parseMistake(err, text)}
	}
	t.tmpl = parsed
	var mistakes config.Mistakes
	for _, part := range parsed.Templates() {
		if part.Tree == nil {
			continue
		}
		r := rewriter{template: t, tree: part.Tree, text: text, root: part.Name() == "text"}
		r.list(part.Tree.Root, r.root)
		mistakes = append(mistakes, r.mistakes...)
	}
	return t, mistakes
}

// mistake is one at a line and a column of the text.
func (t *textTemplate) mistake(line, col int, what, hint string) config.Mistake {
	m := t.node.Errorf("", what, hint)
	m.Pos = t.node.Within(line, col)
	return m
}

// templateError splits the text of an error of text/template.
var templateError = regexp.MustCompile(`(?s)^template: [^:]*:(\d+)(?::(\d+))?: (.*)$`)

// unknownFunc is what text/template says of a function it does not know, in a
// line but at no column.
var unknownFunc = regexp.MustCompile(`^function "(\w+)" not defined$`)

func (t *textTemplate) parseMistake(err error, text string) config.Mistake {
	line, col, what := splitTemplateError(err)
	hint := "write {{ .Data.name }}, with functions as in {{ upper .Data.name }}"
	if name := unknownFunc.FindStringSubmatch(what); name != nil {
		lines := strings.Split(text, "\n")
		word := regexp.MustCompile(`\b` + name[1] + `\b`)
		if at := word.FindStringIndex(lines[min(line, len(lines))-1]); at != nil {
			col = 1 + utf8.RuneCountInString(lines[line-1][:at[0]])
		}
		return t.mistake(line, col, "has no function "+name[1], funcHint(name[1]))
	}
	return t.mistake(line, col, "is not a template: "+what, hint)
}

// funcHint says which function may have been meant.
func funcHint(name string) string {
	known := templateFuncNames()
	if near := config.Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "the functions are " + strings.Join(known, ", ")
}

// splitTemplateError takes the place, counted from 1, out of an error of
// text/template, which counts columns from 0.
func splitTemplateError(err error) (line, col int, what string) {
	line, col, what = 1, 1, err.Error()
	at := templateError.FindStringSubmatch(what)
	if at == nil {
		return line, col, what
	}
	line, _ = strconv.Atoi(at[1]) // digits, by the pattern
	if c, err := strconv.Atoi(at[2]); err == nil {
		col = c + 1
	}
	return line, col, at[3]
}

// run returns what the template makes of v. Its error names the place in the
// configuration.
func (t *textTemplate) run(v *slackView) (string, error) {
	var b strings.Builder
	err := t.tmpl.Execute(&limitedWriter{w: &b, left: maxRendered}, v)
	if err == nil {
		return strings.TrimSpace(strings.ToValidUTF8(b.String(), "\uFFFD")), nil
	}
	line, col, what := splitTemplateError(err)
	var ours *valueError
	if errors.As(err, &ours) {
		what = ours.what
	}
	place := t.key
	if at := t.node.Within(line, col); at.File != "" {
		place = at.String() + ": " + t.key
	}
	return "", fmt.Errorf("%s: %s", place, what)
}

// maxRendered bounds what a template may print, far above what is ever sent.
const maxRendered = 4 << 20

// limitedWriter refuses more than it has left, so that a loop in a template
// cannot fill the memory.
type limitedWriter struct {
	w    io.Writer
	left int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, &valueError{fmt.Sprintf("prints more than %d MiB", maxRendered>>20)}
	}
	l.left -= len(p)
	return l.w.Write(p)
}

// valueError is a template's failure over an event, in our words.
type valueError struct{ what string }

func (e *valueError) Error() string { return e.what }

// rewriter changes one parsed tree and says what is wrong in it.
type rewriter struct {
	template *textTemplate
	tree     *parse.Tree
	text     string
	root     bool // dot is the event at the tree's top
	mistakes config.Mistakes
}

// list rewrites a list of nodes. dot: the dot is the event here.
func (r *rewriter) list(l *parse.ListNode, dot bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			r.pipe(n.Pipe, dot)
			if len(n.Pipe.Decl) == 0 {
				print := parse.NewIdentifier(printFunc).SetPos(n.Pipe.Pos)
				n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pipe.Pos, Args: []parse.Node{print}})
			}
		case *parse.IfNode:
			r.branch(&n.BranchNode, dot, dot)
		case *parse.WithNode:
			r.branch(&n.BranchNode, dot, false)
		case *parse.RangeNode:
			r.branch(&n.BranchNode, dot, false)
		case *parse.TemplateNode:
			r.pipe(n.Pipe, dot)
		}
	}
}

func (r *rewriter) branch(b *parse.BranchNode, dot, within bool) {
	r.pipe(b.Pipe, dot)
	r.list(b.List, within)
	r.list(b.ElseList, dot)
}

func (r *rewriter) pipe(p *parse.PipeNode, dot bool) {
	if p == nil {
		return
	}
	for _, cmd := range p.Cmds {
		r.command(cmd, dot)
	}
}

func (r *rewriter) command(cmd *parse.CommandNode, dot bool) {
	if name, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		r.function(name, cmd.Args[1:])
	}
	for i, arg := range cmd.Args {
		cmd.Args[i] = r.arg(arg, dot)
	}
}

// function checks a call for what can be known before an event comes.
func (r *rewriter) function(name *parse.IdentifierNode, args []parse.Node) {
	if !slices.Contains(templateFuncNames(), name.Ident) { // one of text/template's own
		r.mistake(name.Pos, "has no function "+name.Ident, funcHint(name.Ident))
	}
	if name.Ident != "date" || len(args) < 2 {
		return
	}
	if zone, ok := args[1].(*parse.StringNode); ok {
		if _, err := time.LoadLocation(zone.Text); err != nil {
			r.mistake(zone.Pos, fmt.Sprintf("does not know the time zone %q", zone.Text), `write it as "Europe/Paris" or "UTC"`)
		}
	}
}

// arg replaces a path by a call that looks it up.
func (r *rewriter) arg(n parse.Node, dot bool) parse.Node {
	switch n := n.(type) {
	case *parse.FieldNode:
		if dot {
			r.field(n.Pos, n.Ident[0])
		}
		return lookUpCall(n.Pos, &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident)
	case *parse.VariableNode:
		if len(n.Ident) == 1 {
			return n
		}
		if n.Ident[0] == "$" && r.root {
			r.field(n.Pos, n.Ident[1])
		}
		from := *n
		from.Ident = n.Ident[:1]
		return lookUpCall(n.Pos, &from, n.Ident[1:])
	case *parse.ChainNode:
		return lookUpCall(n.Pos, r.arg(n.Node, dot), n.Field)
	case *parse.PipeNode:
		r.pipe(n, dot)
	}
	return n
}

// field checks a field of the event.
func (r *rewriter) field(pos parse.Pos, name string) {
	var names []string
	for _, f := range slackFields() {
		if f.name == name {
			return
		}
		names = append(names, f.name)
	}
	hint := "an event has ." + strings.Join(names, ", .")
	if near := config.Nearest(name, names); near != "" {
		hint = "did you mean ." + near + "?"
	}
	// The position of a path of several is that of its second part.
	if at := strings.LastIndex(r.text[:min(int(pos)+len(name)+1, len(r.text))], "."+name); at >= 0 {
		pos = parse.Pos(at)
	}
	r.mistake(pos, "has no field ."+name, hint)
}

// mistake is one at a byte of the text.
func (r *rewriter) mistake(pos parse.Pos, what, hint string) {
	before := r.text[:min(int(pos), len(r.text))]
	line := 1 + strings.Count(before, "\n")
	col := 1 + len([]rune(before[strings.LastIndex(before, "\n")+1:]))
	r.mistakes = append(r.mistakes, r.template.mistake(line, col, what, hint))
}

// lookUpCall is (lookUpFunc from "a" "b"), which text/template evaluates in
// the place of from.a.b.
func lookUpCall(pos parse.Pos, from parse.Node, path []string) parse.Node {
	args := []parse.Node{parse.NewIdentifier(lookUpFunc).SetPos(pos), from}
	for _, name := range path {
		args = append(args, &parse.StringNode{NodeType: parse.NodeString, Pos: pos, Quoted: strconv.Quote(name), Text: name})
	}
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{
		{NodeType: parse.NodeCommand, Pos: pos, Args: args},
	}}
}
