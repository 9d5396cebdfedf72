package reference

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object. Its keys are written in the order of the alphabet.
type object = map[string]any

// Patterns of what the file writes as text.
const (
	variablePattern = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`
	durationPattern = `^([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`
	sizePattern     = `^[0-9]+(\.[0-9]+)? ?([KkMmGgTt][Ii]?)?[Bb]?$`
	ratePattern     = `^(unlimited|[0-9]+(\.[0-9]+)? ?/ ?[smh])$`
	startPattern    = `^(now|beginning|-[0-9].*|[0-9]{4}-[0-9]{2}-[0-9]{2}.*)$`
	namePattern     = `^[a-z0-9][a-z0-9-]{0,62}$`
	timePattern     = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T`
	// What is written between quotes is read all the same.
	wholePattern  = `^[+-]?[0-9]+$`
	numberPattern = `^[+-]?[0-9.]+([eE][+-]?[0-9]+)?$`
	switchPattern = `^(true|True|TRUE|false|False|FALSE)$`
)

// Schema writes the JSON Schema (2020-12) of the file. It refuses what is wrong
// by shape: unknown keys, wrong types, numbers out of range, kinds without
// their keys. What only a look at the whole can tell is for penstock check.
func (f File) Schema() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(object{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"title":                "penstock.yaml",
		"description":          "The configuration of Penstock. penstock check finds what a schema cannot.",
		"type":                 []string{"object", "null"},
		"additionalProperties": false,
		"patternProperties":    object{"^x-": object{"description": "A place to keep anchors; not read."}},
		"properties": object{
			"server":  section("Where and how webhooks and the admin API are served.", mapping(f.Server)),
			"broker":  section("Where events are stored.", mapping(f.Broker)),
			"sources": section("Senders, by name, and how their requests are verified.", f.sources()),
			"sinks":   section("Destinations, by name, and how events are delivered to them.", f.sinks()),
			"routes":  object{"description": "Rules: which events go to which sinks.", "type": []string{"array", "null"}, "items": mapping(f.Route)},
			"tests":   object{"description": "What the routes have to make of events; penstock test runs them.", "type": []string{"array", "null"}, "items": mapping(f.Test)},
			"default": object{"description": "The sinks of events that no route matched.", "anyOf": []object{names(), {"type": "null"}}},
		},
		"$defs": f.definitions(),
	})
	return out.Bytes(), err
}

// names is a list of names, or one.
func names() object {
	return object{"anyOf": []object{{"type": "string"}, {"type": "array", "items": object{"type": "string"}}}}
}

// section is a mapping that may be there without a value, all of it commented
// out.
func section(doc string, m object) object {
	m["description"], m["type"] = doc, []string{"object", "null"}
	return m
}

func (f File) definitions() object {
	defs := object{
		"variable": object{"description": "Filled in from the environment.", "type": "string", "pattern": variablePattern},
	}
	for _, kind := range slices.Sorted(maps.Keys(f.Kinds)) {
		defs["sink-"+kind] = mapping(slices.Concat(f.Sink, f.Kinds[kind].Keys))
	}
	return defs
}

func (f File) sources() object {
	source := mapping(f.Source)
	source["required"] = []string{"kind"}
	if kind, ok := source["properties"].(object)["kind"].(object); ok && len(f.SourceKinds) > 0 {
		kind["enum"] = f.SourceKinds
	}
	return object{"additionalProperties": source, "propertyNames": object{"pattern": namePattern}}
}

func (f File) sinks() object {
	kinds := slices.Sorted(maps.Keys(f.Kinds))
	var cases []object
	for _, kind := range kinds {
		cases = append(cases, object{
			"if":   object{"properties": object{"kind": object{"const": kind}}, "required": []string{"kind"}},
			"then": object{"$ref": "#/$defs/sink-" + kind},
		})
	}
	return object{
		"propertyNames": object{"pattern": namePattern},
		"additionalProperties": object{
			"type": "object", "required": []string{"kind"}, "allOf": cases,
			"properties": object{"kind": object{"description": "What kind of destination it is.", "enum": kinds}},
		},
	}
}

// mapping is the schema of a mapping with these keys and no others.
func mapping(keys []Key) object {
	properties, required, either := object{}, []string{}, []object{}
	for _, k := range keys {
		s := k.schema()
		s["description"] = k.describe()
		properties[k.Name] = s
		if k.HasFile() {
			file := k.Name + "_file"
			properties[file] = object{
				"type":        "string",
				"description": "The name of a file that holds `" + k.Name + "`, in its place: of a list, one a line. A relative name is looked for beside this file.",
			}
			if k.Required {
				either = append(either, object{"oneOf": []object{{"required": []string{k.Name}}, {"required": []string{file}}}})
			} else {
				either = append(either, object{"not": object{"type": "object", "required": []string{k.Name, file}}})
			}
		} else if k.Required {
			required = append(required, k.Name)
		}
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	if len(either) > 0 {
		out["allOf"] = either
	}
	return out
}

// describe is the text an editor shows: what a schema cannot say in its own
// words included.
func (k Key) describe() string {
	text := strings.ReplaceAll(k.Doc, "`", "")
	if r := k.bounds(); r != "" {
		text += " Range: " + r + "."
	}
	if k.Default != "" {
		text += " Default: " + k.Default + "."
	}
	return text
}

func (k Key) schema() object {
	s := k.shape()
	if v := k.defaultValue(); v != nil {
		s["default"] = v
	}
	if example := k.Example(); example != "" && k.Form != List && k.Form != Mapping {
		s["examples"] = []any{example}
	}
	return s
}

func (k Key) shape() object {
	switch k.Form {
	case Word:
		return object{"anyOf": []object{{"enum": words(k.Words)}, variable()}}
	case Whole:
		return object{"anyOf": []object{k.bounded("integer"), quoted(wholePattern), variable()}}
	case Number:
		return object{"anyOf": []object{k.bounded("number"), quoted(numberPattern), variable()}}
	case Switch:
		return object{"anyOf": []object{{"type": "boolean"}, quoted(switchPattern), variable()}}
	case Duration:
		return object{"anyOf": []object{{"type": "string", "pattern": durationPattern, "minLength": 1}, {"const": 0}, variable()}}
	case Size:
		size := []object{{"type": "integer", "minimum": 0}, {"type": "string", "pattern": sizePattern}, variable()}
		if k.Auto {
			size = append(size, object{"const": "auto"})
		}
		return object{"anyOf": size}
	case Rate:
		word := object{"type": "string", "pattern": ratePattern}
		whole := mapping([]Key{{Name: "rate", Form: Text, Required: true, Doc: "Attempts over time."}, {Name: "burst", Form: Whole, Low: "1", High: "1000000", Doc: "Attempts at once."}})
		return object{"anyOf": []object{word, whole, variable()}}
	case Start:
		return object{"anyOf": []object{{"type": "string", "pattern": startPattern}, variable()}}
	case List:
		return k.list()
	case Mapping:
		if k.Item != nil {
			return object{"type": "object", "additionalProperties": k.Item.schema()}
		}
		m := mapping(k.Keys)
		if k.Filled {
			m["minProperties"] = 1
		}
		return m
	case Time:
		return quoted(timePattern)
	case Any:
		if len(k.Shapes) > 0 {
			return object{"type": k.Shapes, "minLength": 1}
		}
		return object{}
	}
	return object{"type": []string{"string", "number", "boolean"}} // a plain word, whatever YAML takes it for
}

// list is a list; one of texts may be written as a single text.
func (k Key) list() object {
	list := object{"type": "array", "items": k.Item.schema()}
	if k.Filled {
		list["minItems"] = 1
	}
	if k.Item.Form == Text || k.Item.Form == Path || k.Item.Form == Secret {
		return object{"anyOf": []object{{"type": "string"}, list}}
	}
	return list
}

// quoted is a text of a form.
func quoted(pattern string) object { return object{"type": "string", "pattern": pattern} }

func variable() object { return object{"$ref": "#/$defs/variable"} }

// bounded is a number within the key's bounds.
func (k Key) bounded(kind string) object {
	s := object{"type": kind}
	if n, err := strconv.ParseFloat(k.Low, 64); err == nil {
		s["minimum"] = n
	}
	if n, err := strconv.ParseFloat(k.High, 64); err == nil {
		s["maximum"] = n
	}
	return s
}

func (k Key) defaultValue() any {
	switch {
	case k.Default == "", k.Form == List, k.Form == Mapping, k.Form == Any, k.Form == Secret:
		return nil
	case k.Form == Switch:
		return k.Default == "true"
	case k.Form == Whole, k.Form == Number:
		return json.RawMessage(k.Default)
	}
	return k.Default
}

// words are the words that a value may be. YAML reads one like 1.2 as a number.
func words(all []string) []any {
	var out []any
	for _, w := range all {
		out = append(out, w)
		if json.Valid([]byte(w)) {
			out = append(out, json.Number(w))
		}
	}
	return out
}
