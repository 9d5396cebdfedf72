// Package reference describes the configuration file from the types that it is
// read into: the tags and defaults by reflection, the comments from the source.
// Of one description it writes the JSON Schema and the pages of the reference,
// so that none of them can say what the program does not do.
//
// It needs the source, so only tests use it: they compare what it writes with
// what is kept, and write that anew with -update.
package reference

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/sinks"
)

// Form is how a value is written in the file.
type Form string

// The forms. A List holds items of another form; a Mapping has keys of its own,
// or items under keys that the user chooses.
const (
	Text     Form = "text"
	Path     Form = "file" // the name of one
	Word     Form = "word" // one of Key.Words
	Whole    Form = "whole number"
	Number   Form = "number"
	Switch   Form = "true or false"
	Duration Form = "duration"
	Size     Form = "size"
	Rate     Form = "rate"
	Start    Form = "start"
	Network  Form = "network"
	Time     Form = "time"
	Secret   Form = "secret"
	List     Form = "list"
	Mapping  Form = "mapping"
	Any      Form = "value" // read by a rule of its own
)

// Key is one key of the file.
type Key struct {
	Name string
	Form Form
	// Doc is what the source says of it, in words of the file.
	Doc string
	// Default is the value of a file that does not have the key, as the file
	// would write it; empty when that says nothing.
	Default string
	// Low and High bound the value, as the file would write them; empty: open.
	Low, High string
	// Sample is a value for whom no rule makes one, from the tag example.
	Sample   string
	Words    []string
	Required bool
	// Filled: of a list or a mapping, that it holds something.
	Filled bool
	// Shapes are what an Any may be, in words of JSON Schema; none: anything.
	Shapes []string
	// Auto: the word auto stands for a value that is chosen at the start.
	Auto bool
	// Item is what a List holds, or what stands under the user's keys of a
	// Mapping; nil otherwise.
	Item *Key
	Keys []Key // of a Mapping
}

// HasFile reports that the key may be given as the name of a file, by its name
// and _file.
func (k Key) HasFile() bool {
	return k.Form == Secret || k.Form == List && k.Item.Form == Secret
}

// File is the whole configuration file.
type File struct {
	Server, Broker, Source, Sink, Route, Test []Key
	// Kinds are the kinds of sinks, by name.
	Kinds map[string]Kind
	// SourceKinds are the kinds of sources.
	SourceKinds []string
}

// Kind is a kind of sink.
type Kind struct {
	// About continues a sentence that begins with the kind's name.
	About string
	// Keys are those that it has beyond File.Sink.
	Keys []Key
	// Example is a file that has a sink of the kind, below the module's folder,
	// and ExampleText what it holds; empty: there is none.
	Example, ExampleText string
}

// Describe reads the source below root, the folder of the module, and returns
// what it says about the file.
func Describe(root string, sourceKinds []string) (File, error) {
	d := describer{comments: comments{root: root}}
	c, ms := config.Parse("", []byte("sinks: {log: {kind: log}}\nsources: {s: {kind: s}}\nroutes: [{}]"), config.Options{NoEnv: true})
	if c == nil {
		return File{}, fmt.Errorf("read defaults: %w", ms)
	}
	c.Sources[0].Path, c.Sources[0].Kind, c.Sinks[0].Kind, c.Routes[0].Name = "", "", "", ""
	f := File{
		Server: d.structure(reflect.ValueOf(c.Server)), Broker: d.structure(reflect.ValueOf(c.Broker)),
		Source: d.structure(reflect.ValueOf(c.Sources[0])), Sink: d.structure(reflect.ValueOf(c.Sinks[0])),
		Route: d.structure(reflect.ValueOf(c.Routes[0])), Test: d.structure(reflect.ValueOf(config.Test{})),
		Kinds: map[string]Kind{}, SourceKinds: sourceKinds,
	}
	f.Source[0].Required, f.Sink[0].Required = true, true // the loader says so of kind, not a tag
	for name, keys := range sinks.Keys() {
		f.Kinds[name] = d.kind(name, keys)
	}
	return f, errors.Join(d.errs...)
}

// kind describes a kind of sink by the comments on its sink and its keys, the
// keys, and its first example.
func (d *describer) kind(name string, keys any) Kind {
	t := reflect.TypeOf(keys)
	k := Kind{Keys: d.structure(reflect.ValueOf(keys))}
	about, err := d.comments.ofType(t.PkgPath(), name+"Sink")
	d.note(err)
	more, err := d.comments.ofType(t.PkgPath(), t.Name())
	d.note(err)
	// The sink's comment begins with its name, and the first sentence of that
	// of the keys only says whose they are.
	_, about, _ = strings.Cut(about, " ")
	_, more, _ = strings.Cut(more, ". ")
	k.About = strings.TrimSpace(about + " " + more)
	k.Example, k.ExampleText, err = exampleOf(d.comments.root, name)
	d.note(err)
	return k
}

// exampleOf finds the first example file that begins with the kind's name and
// has a sink of it.
func exampleOf(root, kind string) (name, text string, err error) {
	files, err := filepath.Glob(filepath.Join(root, "examples", kind+"*.yaml"))
	if err != nil {
		return "", "", fmt.Errorf("list examples: %w", err)
	}
	uses := regexp.MustCompile(`kind: ` + kind + `\b`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("read example: %w", err)
		}
		if uses.Match(data) {
			return "examples/" + filepath.Base(file), string(data), nil
		}
	}
	return "", "", nil
}

type describer struct {
	comments comments
	errs     []error
}

func (d *describer) note(err error) {
	if err != nil {
		d.errs = append(d.errs, err)
	}
}

func (d *describer) structure(v reflect.Value) []Key {
	var out []Key
	names := map[string]string{} // of fields: of keys
	for i := range v.NumField() {
		if tag, ok := tagOf(v.Type().Field(i)); ok {
			names[v.Type().Field(i).Name] = tag[0]
		}
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag, ok := tagOf(f)
		if !ok {
			continue
		}
		k := d.value(v.Field(i))
		k.Name, k.Required, k.Auto = tag[0], slices.Contains(tag[1:], "required"), slices.Contains(tag[1:], "auto")
		bounded := &k
		if k.Form == List {
			bounded = k.Item
		}
		bounded.Low, bounded.High, _ = strings.Cut(f.Tag.Get("range"), "..")
		if words := f.Tag.Get("oneof"); words != "" {
			bounded.Form, bounded.Words = Word, strings.Fields(words)
		}
		if k.Auto && v.Field(i).IsZero() {
			k.Default = "auto"
		}
		if bounded.Form == Text && slices.Contains(tag[1:], "path") {
			bounded.Form = Path
		}
		if f.Tag.Get("filled") != "" {
			k.Required, k.Filled = true, true
		}
		k.Shapes = strings.Fields(f.Tag.Get("shapes"))
		k.Sample = f.Tag.Get("example")
		doc, err := d.comments.of(v.Type(), f.Name)
		d.note(err)
		k.Doc = inWordsOfTheFile(doc, names)
		out = append(out, k)
	}
	return out
}

func tagOf(f reflect.StructField) ([]string, bool) {
	tag := f.Tag.Get("yaml")
	if tag == "" || tag == "-" || !f.IsExported() {
		return nil, false
	}
	return strings.Split(tag, ","), true
}

// value describes a type, and takes its default from the value.
func (d *describer) value(v reflect.Value) Key {
	switch value := v.Interface().(type) {
	case config.Secret:
		return Key{Form: Secret}
	case time.Duration:
		return Key{Form: Duration, Default: showDuration(value)}
	case config.Size:
		return Key{Form: Size, Default: value.String()}
	case config.Rate:
		return Key{Form: Rate, Default: "unlimited"}
	case config.Start:
		return Key{Form: Start, Default: "now"}
	case config.TestTime:
		return Key{Form: Time}
	case netip.Prefix:
		return Key{Form: Network}
	case config.Ref:
		return Key{Form: Text}
	case config.Node:
		return Key{Form: Any}
	}
	switch v.Kind() {
	case reflect.Bool:
		return Key{Form: Switch, Default: fmt.Sprint(v)}
	case reflect.String:
		return Key{Form: Text, Default: v.String()}
	case reflect.Float32, reflect.Float64:
		return Key{Form: Number, Default: fmt.Sprint(v)}
	case reflect.Slice:
		return d.list(v)
	case reflect.Map:
		item := d.value(reflect.Zero(v.Type().Elem()))
		return Key{Form: Mapping, Item: &item}
	case reflect.Pointer:
		if v.IsNil() {
			return d.value(reflect.Zero(v.Type().Elem()))
		}
		return d.value(v.Elem())
	case reflect.Struct:
		if keys := d.structure(v); len(keys) > 0 {
			return Key{Form: Mapping, Keys: keys}
		}
		return Key{Form: Any}
	}
	if v.CanInt() || v.CanUint() {
		return Key{Form: Whole, Default: fmt.Sprint(v)}
	}
	return Key{Form: Any}
}

func (d *describer) list(v reflect.Value) Key {
	item := d.value(reflect.Zero(v.Type().Elem()))
	item.Default = ""
	k := Key{Form: List, Item: &item}
	var parts []string
	for i := range v.Len() {
		parts = append(parts, d.value(v.Index(i)).Default)
	}
	if len(parts) > 0 {
		k.Default = "[" + strings.Join(parts, ", ") + "]"
	}
	return k
}

// showDuration writes a duration as the file would.
func showDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
