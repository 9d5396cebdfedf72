package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Same reports that the sink would be opened and driven in the same way as o.
// Places in the file do not count, nor does where a new sink begins: a sink
// that runs has begun.
func (s Sink) Same(o Sink) bool {
	s.Pos, o.Pos = Pos{}, Pos{}
	s.Start, o.Start = Start{}, Start{}
	a, b := s.Options, o.Options
	s.Options, o.Options = Node{}, Node{}
	return reflect.DeepEqual(s, o) && a.Same(b)
}

// Same reports that the source takes and verifies requests in the same way as o.
func (s Source) Same(o Source) bool {
	s.Pos, o.Pos = Pos{}, Pos{}
	return reflect.DeepEqual(s, o)
}

// Same reports that both routes say the same of the same events.
func (r Route) Same(o Route) bool {
	return r.Name == o.Name && slices.Equal(names(r.Match), names(o.Match)) && slices.Equal(names(r.To), names(o.To)) &&
		r.When.Same(o.When) && r.Transform.Same(o.Transform)
}

// Same reports that both parts of a file have the same values, wherever they
// stand: with variables filled in, and with what the files hold that *_file
// keys name.
func (n Node) Same(o Node) bool {
	if n.Shape() != o.Shape() {
		return false
	}
	switch n.Shape() {
	case Mapping:
		if !slices.Equal(n.Keys(), o.Keys()) {
			return false
		}
		for _, key := range n.Keys() {
			a, b := n.Get(key), o.Get(key)
			if !a.Same(b) || strings.HasSuffix(key, "_file") && !sameFile(a, b) {
				return false
			}
		}
	case List:
		a, b := n.Items(), o.Items()
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if !a[i].Same(b[i]) {
				return false
			}
		}
	case Scalar:
		return n.Text() == o.Text() && n.val.tag == o.val.tag
	}
	return true
}

// sameFile compares what two *_file keys name, as far as it was read as a
// secret; other files, such as certificates, are followed by who uses them.
func sameFile(a, b Node) bool {
	x, okX := a.docs.known(a.abs(a.Text()))
	y, okY := b.docs.known(b.abs(b.Text()))
	return okX == okY && x == y
}

// known returns what a file held when it was read; false when nobody has.
func (s *secretFiles) known(path string) (string, bool) {
	if s == nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.read[path]
	return f.text, ok
}

// needsRestart is the hint of every change that a running process refuses.
const needsRestart = "it takes effect at a restart; put it back, or restart the process"

// live are the keys of server that a running process takes over: who may call
// the admin API changes oftener than where it listens.
var live = []string{"server.admin_token", "server.admin_tokens"}

// Fixed returns a mistake for every other key of server and broker that next
// has another value for than c, with its place in next: those are decided when
// a process starts. Values are not shown.
func (c *Config) Fixed(next *Config) Mistakes {
	ms := fixed(c.Server, next.Server, next.Server.Pos, next.places, "server")
	ms = append(ms, fixed(c.Broker, next.Broker, next.Broker.Pos, next.places, "broker")...)
	for i := range ms {
		if ms[i].Pos.Line == 0 && len(next.Files) > 0 { // the whole section was taken out
			ms[i].Pos = Pos{File: next.Files[0], Line: 1, Column: 1}
		}
	}
	ms.Sort()
	return ms
}

func fixed(have, want any, section Pos, places map[string]Node, path string) (ms Mistakes) {
	a, b := reflect.ValueOf(have), reflect.ValueOf(want)
	for i := range a.NumField() {
		key, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
		if key == "" || slices.Contains(live, path+"."+key) || sameValue(a.Field(i), b.Field(i)) {
			continue
		}
		if a.Field(i).Kind() == reflect.Struct && a.Field(i).NumField() > 0 && a.Field(i).FieldByName("Pos").IsValid() {
			below := places[path].Get(key)
			more := fixed(a.Field(i).Interface(), b.Field(i).Interface(), below.Pos(), map[string]Node{path + "." + key: below}, path+"."+key)
			ms = append(ms, placed(more, places[path], section)...)
			continue
		}
		n := places[path]
		at := key
		if n.Get(key).IsZero() && !n.Get(key+"_file").IsZero() {
			at = key + "_file"
		}
		m := n.Errorf(at, "cannot be changed while the process runs", needsRestart)
		m.Path = path + "." + at
		ms = append(ms, placed(Mistakes{m}, n, section)...)
	}
	return ms
}

// placed gives mistakes without a line the next best place: a key that was
// taken out stands nowhere.
func placed(ms Mistakes, n Node, section Pos) Mistakes {
	for i := range ms {
		switch {
		case ms[i].Pos.Line != 0:
		case !n.IsZero():
			ms[i].Pos = n.Pos()
		default:
			ms[i].Pos = section
		}
	}
	return ms
}

// sameValue compares two values of a section; Secrets by what they hold, and
// structs but for their places.
func sameValue(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		if s, ok := a.Interface().(Secret); ok {
			return s.Equal(b.Interface().(Secret))
		}
		if a.FieldByName("Pos").IsValid() {
			for i := range a.NumField() {
				if a.Type().Field(i).Name != "Pos" && !sameValue(a.Field(i), b.Field(i)) {
					return false
				}
			}
			return true
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameValue(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// Changes is what differs between two configurations, by name, in the order of
// the file.
type Changes struct {
	Routes, Sinks, Sources Difference
	// Default reports that events without a route go elsewhere.
	Default bool
	// Order reports that the routes come in another order, which decides whose
	// transform counts.
	Order bool
	// Tokens reports that others may call the admin API, or by other tokens.
	Tokens bool
}

// Difference says which of a kind of things are new, other than before, or gone.
type Difference struct{ Added, Changed, Removed []string }

// Empty reports that nothing differs.
func (d Difference) Empty() bool { return len(d.Added)+len(d.Changed)+len(d.Removed) == 0 }

// Empty reports that both configurations do the same.
func (c Changes) Empty() bool {
	return c.Routes.Empty() && c.Sinks.Empty() && c.Sources.Empty() && !c.Default && !c.Order && !c.Tokens
}

// ChangesTo returns what is different in next.
func (c *Config) ChangesTo(next *Config) Changes {
	out := Changes{
		Routes:  difference(c.Routes, next.Routes, func(r Route) string { return r.Name }, Route.Same),
		Sinks:   difference(c.Sinks, next.Sinks, func(s Sink) string { return s.Name }, Sink.Same),
		Sources: difference(c.Sources, next.Sources, func(s Source) string { return s.Name }, Source.Same),
		Default: !slices.Equal(names(c.Default), names(next.Default)),
	}
	for _, pair := range [][2]any{{c.Server.AdminToken, next.Server.AdminToken}, {c.Server.AdminTokens, next.Server.AdminTokens}} {
		out.Tokens = out.Tokens || !sameValue(reflect.ValueOf(pair[0]), reflect.ValueOf(pair[1]))
	}
	out.Order = out.Routes.Empty() && !slices.EqualFunc(c.Routes, next.Routes, Route.Same)
	return out
}

// difference tells things of the same name apart by their order.
func difference[T any](have, want []T, name func(T) string, same func(T, T) bool) (d Difference) {
	left := map[string][]T{}
	for _, h := range have {
		left[name(h)] = append(left[name(h)], h)
	}
	for _, w := range want {
		switch old := left[name(w)]; {
		case len(old) == 0:
			d.Added = append(d.Added, name(w))
			continue
		case !same(old[0], w):
			d.Changed = append(d.Changed, name(w))
		}
		left[name(w)] = left[name(w)][1:]
	}
	for _, h := range have {
		if len(left[name(h)]) > 0 {
			d.Removed = append(d.Removed, name(h))
			left[name(h)] = left[name(h)][1:]
		}
	}
	return d
}

func (d Difference) String() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"added", d.Added}, {"changed", d.Changed}, {"removed", d.Removed}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", p.what, strings.Join(p.names, ", ")))
		}
	}
	return strings.Join(parts, "; ")
}
