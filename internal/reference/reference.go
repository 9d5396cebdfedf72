// Package reference describes options from the types into which they are
// decoded: the tags that config.Node.Decode reads, the values that are their
// defaults, and the comments on their fields. The reference pages are written
// with it, so that they cannot say what the program does not do.
package reference

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/penstock/penstock/config"
)

// Option is one key of the configuration.
type Option struct {
	// Key is the key with those above it: retry.initial, users[].name.
	Key string
	// Type says what a value is, with its bounds: "duration, 1ms to 1h".
	Type string
	// Required: there is no default, and nothing works without the key.
	Required bool
	// Default is what holds when the key is not there, empty for nothing.
	Default string
	// Example is a value as the file has it.
	Example string
	// Doc is what the key means, in which other keys stand between backticks.
	Doc string
}

// Options describes the keys of a struct, which holds their defaults, in the
// order of its fields. A struct in a field is described by its own keys.
func (c *Comments) Options(defaults any) []Option {
	return c.options("", reflect.ValueOf(defaults))
}

func (c *Comments) options(prefix string, v reflect.Value) []Option {
	var out []Option
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("yaml")
		if !ok || tag == "-" || !f.IsExported() {
			continue
		}
		name, flags, _ := strings.Cut(tag, ",")
		out = append(out, c.field(prefix+name, f, v.Field(i), strings.Split(flags, ","), c.doc(t, f.Name))...)
	}
	return out
}

func (c *Comments) field(key string, f reflect.StructField, v reflect.Value, flags []string, doc string) []Option {
	if parts, under := partsOf(v); parts.IsValid() {
		return c.options(key+under, parts)
	}
	o := Option{Key: key, Doc: doc, Default: show(v)}
	for _, flag := range flags {
		switch flag {
		case "required":
			o.Required = true
		case "auto":
			o.Default = "auto"
		}
	}
	words := strings.Fields(f.Tag.Get("oneof"))
	kind, example := describe(f.Type, strings.Contains(strings.Join(flags, ","), "path"))
	if len(words) > 0 {
		kind, example = "`"+strings.Join(words, "`, `")+"`", words[0]
	}
	o.Type = kind + bounds(f.Tag.Get("range"))
	o.Example = cmp.Or(f.Tag.Get("example"), o.Default, example)
	return []Option{o}
}

// partsOf returns the struct that a field's keys are of, if they are to be
// described one by one, and what stands between the two keys.
func partsOf(v reflect.Value) (parts reflect.Value, under string) {
	t := v.Type()
	switch {
	case isParts(t):
		return v, "."
	case t.Kind() == reflect.Pointer && isParts(t.Elem()):
		if v.IsNil() {
			return reflect.Zero(t.Elem()), "."
		}
		return v.Elem(), "."
	case t.Kind() == reflect.Slice && isParts(t.Elem()):
		return reflect.Zero(t.Elem()), "[]."
	case t.Kind() == reflect.Map && isParts(t.Elem()):
		return reflect.Zero(t.Elem()), ".NAME."
	}
	return reflect.Value{}, ""
}

// isParts reports a struct that has keys, and is not written as one value.
func isParts(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[config.Decoder]()) {
		return false
	}
	for f := range t.Fields() {
		if _, ok := f.Tag.Lookup("yaml"); ok {
			return true
		}
	}
	return false
}

// WriteTable writes the options as a table of Markdown.
func WriteTable(w io.Writer, options []Option) error {
	var b strings.Builder
	b.WriteString("| key | type | default | example | |\n|---|---|---|---|---|\n")
	for _, o := range options {
		value := "–"
		switch {
		case o.Required:
			value = "**required**"
		case o.Default != "":
			value = code(o.Default)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", o.Key, cell(o.Type), value, code(o.Example), cell(o.Doc))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func code(s string) string { return "`" + cell(s) + "`" }

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
