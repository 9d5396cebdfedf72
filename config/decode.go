package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Decoder is a type that reads itself from a Node, which is never null and
// never a scalar whose variable has no value. It returns its mistakes; after
// any, the value is not used.
type Decoder interface {
	DecodeNode(n Node) Mistakes
}

// Decode reads n into what into points to: a struct, or any type a field may
// have. It reports every mistake at once, by place; fields whose value is
// wrong keep what they had, so set the defaults first. Fields may be strings,
// bools, ints, floats, time.Duration (never negative; 7d is allowed), Secret,
// netip.Prefix, Node, types that implement Decoder (Size, Rate, Start), and
// slices of, maps from string to, pointers to and structs of those. A list of
// strings or Secrets may be written as a single one. Anything else is a
// programmer's mistake and panics.
//
// Only fields with a yaml tag take part: `yaml:"name,options"`. The options are
// required (the key must be there), path (a string that names a file,
// resolved against the folder of the configuration), and auto (the word auto
// means the zero value). The tag `range:"1..1000"` bounds numbers, durations
// and sizes, or their items, either end optional; `oneof:"a b c"` lists the
// words a string may be; `filled:"hint"` asks for a key that is there and holds
// something; `shapes:"string object"` says in words of JSON Schema what a Node
// may be, to the schema only. A field Pos of type Pos is set to the struct's place.
//
// A Secret or []Secret under key k may instead be given as k_file, the name of
// a file that holds it; of a list, one a line.
func (n Node) Decode(into any) Mistakes {
	var d decoder
	if n.val == nil {
		n.val = &value{kind: mapping}
	}
	d.value(n, reflect.ValueOf(into).Elem(), rules{})
	d.ms.Sort()
	return d.ms
}

type decoder struct{ ms Mistakes }

func (d *decoder) add(ms ...Mistake) { d.ms = append(d.ms, ms...) }

// rules are what the tags of a field ask for.
type rules struct {
	name                 string
	required, path, auto bool
	keyed                bool // it stands under a key of the user's
	bounds, words        string
	filled               string // the hint when it is missing or empty
}

func rulesOf(f reflect.StructField) (rules, bool) {
	tag, ok := f.Tag.Lookup("yaml")
	if !ok || tag == "-" || !f.IsExported() {
		return rules{}, false
	}
	parts := strings.Split(tag, ",")
	return rules{
		name:     parts[0],
		required: slices.Contains(parts[1:], "required"),
		path:     slices.Contains(parts[1:], "path"),
		auto:     slices.Contains(parts[1:], "auto"),
		bounds:   f.Tag.Get("range"),
		words:    f.Tag.Get("oneof"),
		filled:   f.Tag.Get("filled"),
	}, true
}

var (
	nodeType     = reflect.TypeFor[Node]()
	posType      = reflect.TypeFor[Pos]()
	secretType   = reflect.TypeFor[Secret]()
	secretsType  = reflect.TypeFor[[]Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	refType      = reflect.TypeFor[Ref]()
	sizeType     = reflect.TypeFor[Size]()
)

func (d *decoder) value(n Node, v reflect.Value, r rules) {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	switch {
	case n.val.null && !n.val.unresolved:
		d.add(n.Errorf("", "has no value", "give it one or remove the key"))
		return
	case n.val.kind == scalar && n.val.unresolved && !isText(v.Type()) && !isTextList(v.Type()):
		return
	case r.auto && n.val.kind == scalar && n.val.text == "auto":
		v.SetZero()
		return
	}
	if dec, ok := v.Addr().Interface().(Decoder); ok {
		d.custom(n, v, dec, r)
		return
	}
	switch v.Type() {
	case secretType, durationType, prefixType:
		d.scalar(n, v, r)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			p.Elem().Set(v.Elem())
		}
		d.value(n, p.Elem(), r)
		v.Set(p)
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Slice:
		d.slice(n, v, r)
	case reflect.Map:
		d.mapping(n, v, r)
	default:
		d.scalar(n, v, r)
	}
}

// isText reports a type that any scalar fits, a placeholder too.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t == secretType || t == refType
}

func isTextList(t reflect.Type) bool { return t.Kind() == reflect.Slice && isText(t.Elem()) }

// isParts reports a type that is worth keeping when a part of it is wrong.
func isParts(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != secretType && t != refType && t != prefixType
}

func (d *decoder) custom(n Node, v reflect.Value, dec Decoder, r rules) {
	before := reflect.ValueOf(v.Interface())
	ms := dec.DecodeNode(n)
	if len(ms) == 0 {
		ms = checkRules(n, v, r)
	}
	if len(ms.Fatal()) > 0 {
		v.Set(before)
	}
	d.add(ms...)
}

func (d *decoder) scalar(n Node, v reflect.Value, r rules) {
	if v.Type() == secretType {
		n.docs.note(n, r.keyed)
	}
	fresh := reflect.New(v.Type()).Elem()
	ms := setScalar(n, fresh, r)
	if len(ms) == 0 {
		ms = checkRules(n, fresh, r)
	}
	if len(ms) == 0 {
		v.Set(fresh)
	}
	d.add(ms...)
}

func (d *decoder) slice(n Node, v reflect.Value, r rules) {
	items := n.list()
	if n.val.kind == mapping || n.val.kind == scalar && !isTextList(v.Type()) {
		d.add(n.needsParts("a list", "write ["+exampleOf(v.Type().Elem(), r)+"]")...)
		return
	}
	r.required = false
	out := reflect.MakeSlice(v.Type(), 0, len(items))
	for _, item := range items {
		elem, had := reflect.New(v.Type().Elem()).Elem(), len(d.ms)
		d.value(item, elem, r)
		if len(d.ms[had:].Fatal()) == 0 || isParts(elem.Type()) {
			out = reflect.Append(out, elem)
		}
	}
	v.Set(out)
}

func (d *decoder) mapping(n Node, v reflect.Value, r rules) {
	if n.val.kind != mapping {
		d.add(n.needsParts("a mapping", "write {name: "+exampleOf(v.Type().Elem(), r)+"}")...)
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.val.keys))
	r.keyed = true
	for _, key := range n.val.keys {
		elem, had := reflect.New(v.Type().Elem()).Elem(), len(d.ms)
		d.value(n.Get(key), elem, r)
		if len(d.ms[had:].Fatal()) == 0 {
			out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), elem)
		}
	}
	v.Set(out)
}

func (d *decoder) structure(n Node, v reflect.Value) {
	if pos := v.FieldByName("Pos"); pos.IsValid() && pos.Type() == posType {
		pos.Set(reflect.ValueOf(n.Pos()))
	}
	var known []string
	for i := range v.NumField() {
		if r, ok := rulesOf(v.Type().Field(i)); ok {
			known = append(known, r.name)
			if t := v.Type().Field(i).Type; t == secretType || t == secretsType {
				known = append(known, r.name+"_file")
			}
		}
	}
	if n.val.kind != mapping {
		d.add(n.needsParts("a mapping", "its keys are "+strings.Join(known, ", "))...)
		return
	}
	for i := range v.NumField() {
		if r, ok := rulesOf(v.Type().Field(i)); ok {
			d.field(n, v.Field(i), r)
		}
	}
	d.unknown(n, known)
}

func (d *decoder) field(n Node, v reflect.Value, r rules) {
	here := n.Get(r.name)
	if t := v.Type(); t == secretType || t == secretsType {
		if file := n.Get(r.name + "_file"); !file.IsZero() {
			if !here.IsZero() {
				d.add(n.keyErrorf(r.name+"_file", r.name+" is also set", "keep one of them"))
				return
			}
			d.secretFile(file, v)
			return
		}
	}
	switch {
	case !here.IsZero() && r.filled != "" && here.val.kind != scalar && len(here.val.vals) == 0:
		d.add(here.Errorf("", "is empty", r.filled))
	case !here.IsZero():
		d.value(here, v, r)
	case r.filled != "":
		d.add(n.Errorf("", "has no "+r.name, r.filled))
	case r.required:
		d.add(n.Errorf("", "has no "+r.name, "add "+r.name+": "+exampleOf(v.Type(), r)))
	}
}

func (d *decoder) secretFile(file Node, v reflect.Value) {
	var got any
	var ms Mistakes
	if v.Type() == secretType {
		got, ms = secretFromFile(file)
	} else {
		got, ms = secretsFromFile(file)
	}
	if d.add(ms...); len(ms) == 0 {
		v.Set(reflect.ValueOf(got))
	}
}

// unknown reports the keys of n that are not known.
func (d *decoder) unknown(n Node, known []string) {
	for _, key := range n.val.keys {
		if slices.Contains(known, key) {
			continue
		}
		hint := "known keys: " + strings.Join(known, ", ")
		if len(known) == 0 {
			hint = "no keys are known here"
		}
		if near := Nearest(key, slices.Concat(known, n.also)); near != "" {
			hint = "did you mean " + near + "?"
		}
		n.docs.noteUnread(n.Get(key))
		d.add(n.keyErrorf(key, "unknown key", hint))
	}
}

// exampleOf shows what a value of the type looks like in the file.
func exampleOf(t reflect.Type, r rules) string {
	switch {
	case r.words != "":
		word, _, _ := strings.Cut(r.words, " ")
		return word
	case t == durationType:
		return "10s"
	case t == prefixType:
		return "10.0.0.0/8"
	case t == sizeType:
		return "1MiB"
	}
	if low, _, ok := strings.Cut(r.bounds, ".."); ok && low != "" && t.Kind() != reflect.Slice {
		return low
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true"
	case reflect.String, reflect.Struct:
		return "..."
	case reflect.Slice:
		return "[" + exampleOf(t.Elem(), r) + "]"
	case reflect.Map:
		return "{name: " + exampleOf(t.Elem(), r) + "}"
	}
	return "1"
}
