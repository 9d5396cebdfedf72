package config

import (
	"errors"
	"fmt"
)

// RuleSet is what decides where events go, in a form that another process can
// read. Of sources, sinks and the server it has names only: it holds no secret
// but what variables put into conditions and transforms, without which those
// cannot be evaluated.
type RuleSet struct {
	Sources []RuleSource `json:"sources,omitempty"`
	Sinks   []RuleSink   `json:"sinks,omitempty"`
	Routes  []RuleRoute  `json:"routes,omitempty"`
	Default []string     `json:"default,omitempty"`
}

// RuleSource is a source: its name and what its subjects begin with.
type RuleSource struct {
	Name          string `json:"name"`
	SubjectPrefix string `json:"subject_prefix,omitempty"`
}

// RuleSink is a sink: its name and kind.
type RuleSink struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

// RuleRoute is a route.
type RuleRoute struct {
	Name      string    `json:"name"`
	Match     []string  `json:"match"`
	To        []string  `json:"to"`
	When      *RulePart `json:"when,omitempty"`
	Transform *RulePart `json:"transform,omitempty"`
}

// RulePart is an expression, or a mapping or a list of them, with its place in
// the file. Values are those of Keys, or of the list when there are none.
type RulePart struct {
	Shape  Shape  `json:"shape"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Text has its variables filled in and may be a secret; Raw is as written.
	Text       string     `json:"text,omitempty"`
	Raw        string     `json:"raw,omitempty"`
	Unresolved bool       `json:"unresolved,omitempty"`
	Keys       []string   `json:"keys,omitempty"`
	Values     []RulePart `json:"values,omitempty"`
}

// Rules returns what decides where events go.
func (c *Config) Rules() RuleSet {
	var set RuleSet
	for _, s := range c.Sources {
		set.Sources = append(set.Sources, RuleSource{s.Name, s.SubjectPrefix})
	}
	for _, s := range c.Sinks {
		set.Sinks = append(set.Sinks, RuleSink{s.Name, s.Kind})
	}
	for _, r := range c.Routes {
		set.Routes = append(set.Routes, RuleRoute{
			Name: r.Name, Match: names(r.Match), To: names(r.To), When: r.When.rulePart(), Transform: r.Transform.rulePart(),
		})
	}
	set.Default = names(c.Default)
	return set
}

// rulePart is nil for a part that is not there.
func (n Node) rulePart() *RulePart {
	if n.IsZero() {
		return nil
	}
	at := n.Pos()
	p := RulePart{Shape: n.Shape(), File: at.File, Line: at.Line, Column: at.Column, Unresolved: n.val.unresolved}
	switch p.Shape {
	case Mapping:
		p.Keys = n.Keys()
		for _, key := range p.Keys {
			p.Values = append(p.Values, *n.Get(key).rulePart())
		}
	case List:
		for _, item := range n.list() {
			p.Values = append(p.Values, *item.rulePart())
		}
	case Scalar:
		p.Text, p.Raw = n.val.text, n.val.raw
	}
	return &p
}

// errPart is a part that Rules does not make.
var errPart = errors.New("is no part of a rule")

// Config returns a configuration of these rules and nothing else: names of
// sources and sinks, routes and default. It fails for what Rules never makes.
func (s RuleSet) Config() (*Config, error) {
	c := &Config{Default: asRefs(s.Default)}
	for _, source := range s.Sources {
		c.Sources = append(c.Sources, Source{Name: source.Name, SubjectPrefix: source.SubjectPrefix})
	}
	for _, sink := range s.Sinks {
		c.Sinks = append(c.Sinks, Sink{Name: sink.Name, Kind: sink.Kind})
	}
	for i, r := range s.Routes {
		route := Route{Name: r.Name, Match: asRefs(r.Match), To: asRefs(r.To)}
		var err error
		if route.When, err = r.When.node(fmt.Sprintf("routes[%d].when", i)); err != nil {
			return nil, err
		}
		if route.Transform, err = r.Transform.node(fmt.Sprintf("routes[%d].transform", i)); err != nil {
			return nil, err
		}
		c.Routes = append(c.Routes, route)
	}
	return c, nil
}

func asRefs(names []string) []Ref {
	var out []Ref
	for _, name := range names {
		out = append(out, Ref{Name: name})
	}
	return out
}

func (p *RulePart) node(path string) (Node, error) {
	if p == nil {
		return Node{}, nil
	}
	v, err := p.value(0)
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", path, err)
	}
	return Node{File: p.File, Path: path, val: v, docs: &secretFiles{}}, nil
}

func (p *RulePart) value(depth int) (*value, error) {
	v := &value{line: p.Line, col: p.Column, unresolved: p.Unresolved, text: p.Text, raw: p.Raw, tag: "!!str"}
	switch {
	case depth > maxDepth, p.Shape == Mapping && len(p.Keys) != len(p.Values):
		return nil, errPart
	case p.Shape == Mapping:
		v.kind, v.keys = mapping, p.Keys
	case p.Shape == List:
		v.kind = sequence
	case p.Shape == Null:
		v.null = true
	case p.Shape != Scalar:
		return nil, errPart
	}
	for i := range p.Values {
		part, err := p.Values[i].value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.vals = append(v.vals, part)
	}
	return v, nil
}
