package config

import (
	"encoding/json"
	"fmt"
	"os"
)

// Routing is what of a configuration decides where events go, as text that
// ParseRouting reads: the routes, the default, the names of the sinks and the
// prefixes of the sources. Variables within expressions are not filled in, so
// that it is fit to be kept where others can read it.
func (c *Config) Routing() ([]byte, error) {
	t := routingText{Default: names(c.Default)}
	for _, s := range c.Sources {
		t.Prefixes = append(t.Prefixes, s.SubjectPrefix)
	}
	for _, s := range c.Sinks {
		t.Sinks = append(t.Sinks, s.Name)
	}
	for _, r := range c.Routes {
		t.Routes = append(t.Routes, routeText{
			Name: r.Name, Match: names(r.Match), To: names(r.To),
			When: textOf(r.When), Transform: textOf(r.Transform),
		})
	}
	return json.Marshal(t)
}

// ParseRouting reads what Routing wrote into a Config that has nothing else.
// The variables of its expressions are filled in by env, nil meaning
// os.LookupEnv; an expression with one that is not set fails for every event.
func ParseRouting(text []byte, env func(string) (string, bool)) (*Config, error) {
	if env == nil {
		env = os.LookupEnv
	}
	var t routingText
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("read kept routes: %w", err)
	}
	c := &Config{Default: asRefs(t.Default)}
	for _, p := range t.Prefixes {
		c.Sources = append(c.Sources, Source{SubjectPrefix: p})
	}
	for _, name := range t.Sinks {
		c.Sinks = append(c.Sinks, Sink{Name: name})
	}
	for _, r := range t.Routes {
		c.Routes = append(c.Routes, Route{
			Name: r.Name, Match: asRefs(r.Match), To: asRefs(r.To),
			When: r.When.node("when", env), Transform: r.Transform.node("transform", env),
		})
	}
	return c, nil
}

type routingText struct {
	Prefixes []string    `json:"prefixes,omitempty"`
	Sinks    []string    `json:"sinks,omitempty"`
	Routes   []routeText `json:"routes,omitempty"`
	Default  []string    `json:"default,omitempty"`
}

type routeText struct {
	Name      string          `json:"name"`
	Match     []string        `json:"match"`
	To        []string        `json:"to"`
	When      *expressionText `json:"when,omitempty"`
	Transform *expressionText `json:"transform,omitempty"`
}

// expressionText is an expression, or a list of them, or a mapping, whose keys
// keep their order.
type expressionText struct {
	Raw   string            `json:"raw,omitempty"`
	Keys  []string          `json:"keys,omitempty"`
	Items []*expressionText `json:"items,omitempty"`
	List  bool              `json:"list,omitempty"`
}

func textOf(n Node) *expressionText {
	switch {
	case n.IsZero():
		return nil
	case n.Shape() == Mapping:
		e := &expressionText{Keys: append([]string{}, n.Keys()...)}
		for _, key := range e.Keys {
			e.Items = append(e.Items, textOf(n.Get(key)))
		}
		return e
	case n.Shape() == List:
		e := &expressionText{List: true}
		for _, item := range n.Items() {
			e.Items = append(e.Items, textOf(item))
		}
		return e
	}
	return &expressionText{Raw: n.Raw()}
}

func (e *expressionText) node(path string, env func(string) (string, bool)) Node {
	if e == nil {
		return Node{}
	}
	return Node{Path: path, val: e.value(env), docs: &secretFiles{}}
}

func (e *expressionText) value(env func(string) (string, bool)) *value {
	v := &value{kind: scalar, tag: "!!str", raw: e.Raw, text: e.Raw}
	switch {
	case e.List:
		v.kind = sequence
	case len(e.Keys) > 0 && len(e.Keys) == len(e.Items):
		v.kind, v.keys = mapping, e.Keys
	default:
		filled := expand(e.Raw, env)
		v.text, v.unresolved = filled.text, filled.bad || len(filled.unset) > 0
		return v
	}
	for _, item := range e.Items {
		v.vals = append(v.vals, item.value(env))
	}
	return v
}

func names(refs []Ref) []string {
	var out []string
	for _, r := range refs {
		out = append(out, r.Name)
	}
	return out
}
