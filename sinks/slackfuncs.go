package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"regexp"
	"strings"
	"text/template"
	"time"
	_ "time/tzdata" // date knows every zone, also in an image without zone files
)

// templateFunc is a function of templates. The table is what templates may
// call and what the page about them lists.
type templateFunc struct {
	name, signature, doc string
	call                 any // nil: text/template's own
}

func templateFuncs() []templateFunc {
	return []templateFunc{
		{"money", "money AMOUNT CURRENCY", `an amount with its currency: "49.00" and "USD" are $49.00, "1200" and "JPY" are ¥1,200`, money},
		{"date", `date LAYOUT ZONE VALUE`, `a time in Go's layout and an IANA zone: date "2 Jan 15:04" "Europe/Paris" .Data.created_at`, date},
		{"truncate", "truncate LENGTH VALUE", "at most so many characters, the last one … when something was cut", truncate},
		{"default", "default OTHER VALUE", "OTHER when the value is missing, null or empty: .Data.name | default \"someone\"", defaultTo},
		{"get", "get FROM PATH", `the value at a path of keys and indexes, given as text: get .Data "line_items.0.description"`, get},
		{"person", "person CONTACT", "name and address of a contact: Ada Lovelace (ada@example.com)", person},
		{"plain", "plain VALUE", "text without HTML tags and line breaks", onValue(plainText)},
		{"upper", "upper VALUE", "in capital letters", onValue(strings.ToUpper)},
		{"lower", "lower VALUE", "in small letters", onValue(strings.ToLower)},
		{"words", "words VALUE", "an identifier as words: past_due is past due", onValue(asWords)},
		{"mrkdwn", "mrkdwn VALUE", "escapes &, < and >; what is printed is escaped anyway, once", mrkdwn},
		{"raw", "raw VALUE", "not escaped, so that <!here> and links in it work; never for what customers type", raw},
		{"json", "json VALUE", "as JSON on one line", asJSON},
		{"eq", "eq A B", "whether both are the same text or number; what is missing equals nothing", equal},
		{"ne", "ne A B", "not eq", func(a, b any) (bool, error) { same, err := equal(a, b); return !same, err }},
		{"lt", "lt A B", "whether the number A is below B; also le, gt and ge", comparison(func(c int) bool { return c < 0 })},
		{"le", "le A B", "at most", comparison(func(c int) bool { return c <= 0 })},
		{"gt", "gt A B", "above", comparison(func(c int) bool { return c > 0 })},
		{"ge", "ge A B", "at least", comparison(func(c int) bool { return c >= 0 })},
		{"and", "and A B...", "the first that is empty, or the last", nil},
		{"or", "or A B...", "the first that is not empty, or the last", nil},
		{"not", "not A", "whether it is empty", nil},
		{"len", "len VALUE", "how many items or bytes it has", nil},
		{"index", "index LIST NUMBER", "one item of a list; an error when there is none, unlike get", nil},
		{"printf", "printf FORMAT VALUE...", "text by Go's format", printf},
	}
}

func templateFuncNames() []string {
	var names []string
	for _, f := range templateFuncs() {
		names = append(names, f.name)
	}
	return names
}

// The functions that parsed templates are given, beside those one may write.
const (
	lookUpFunc = "_lookup"
	printFunc  = "_print"
)

func templateFuncMap(escape bool) template.FuncMap {
	funcs := template.FuncMap{lookUpFunc: lookUp, printFunc: printPlain}
	if escape {
		funcs[printFunc] = printEscaped
	}
	for _, f := range templateFuncs() {
		if f.call != nil {
			funcs[f.name] = f.call
		}
	}
	return funcs
}

// safe is text that is mrkdwn already.
type safe string

// printEscaped is the end of everything a template prints.
func printEscaped(v any) (string, error) {
	if s, ok := v.(safe); ok {
		return string(s), nil
	}
	text, err := textOf(v)
	return escapeMrkdwn(text), err
}

// printPlain is printEscaped outside mrkdwn.
func printPlain(v any) (string, error) {
	if s, ok := v.(safe); ok {
		return unescapeMrkdwn(string(s)), nil
	}
	return textOf(v)
}

// textOf is a value as text. What is missing, and what has parts, is an error:
// a message must not say "<no value>" or "map[".
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", &valueError{"has no value here"}
	case missing:
		return "", &valueError{v.reason()}
	case string:
		return v, nil
	case safe:
		return unescapeMrkdwn(string(v)), nil
	case json.Number:
		return v.String(), nil
	case time.Time:
		return v.UTC().Format(time.RFC3339), nil
	case map[string]any:
		return "", &valueError{"is an object; name one of its keys, or use json"}
	case []any:
		return "", &valueError{"is a list; use get with an index, range, or json"}
	case *slackView:
		return "", &valueError{"is the event; name one of its fields"}
	}
	return fmt.Sprint(v), nil
}

// Slack documents three characters to escape, and no others.
var (
	mrkdwnEscapes   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	mrkdwnUnescapes = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
)

func escapeMrkdwn(s string) string   { return mrkdwnEscapes.Replace(s) }
func unescapeMrkdwn(s string) string { return mrkdwnUnescapes.Replace(s) }

// onValue makes a function of texts one of values. What is missing stays so,
// and what is no text becomes it, for default to replace.
func onValue(f func(string) string) func(any) any {
	return func(v any) any {
		switch v := v.(type) {
		case missing:
			return v
		case safe:
			return safe(escapeMrkdwn(f(unescapeMrkdwn(string(v)))))
		}
		text, err := textOf(v)
		if err != nil {
			return missingFor("%s", err)
		}
		return f(text)
	}
}

func mrkdwn(v any) any { return asSafe(v, escapeMrkdwn) }
func raw(v any) any    { return asSafe(v, func(s string) string { return s }) }

// asSafe marks text as mrkdwn, which it is after f, if it was not before.
func asSafe(v any, f func(string) string) any {
	switch v.(type) {
	case missing, safe:
		return v
	}
	text, err := textOf(v)
	if err != nil {
		return missingFor("%s", err)
	}
	return safe(f(text))
}

// defaultTo returns other for what is missing, null, an empty text, an empty
// list or an empty object, and for what has parts where other is text.
func defaultTo(other, v any) any {
	switch v := v.(type) {
	case nil, missing:
		return other
	case string:
		if strings.TrimSpace(v) == "" {
			return other
		}
	case safe:
		if strings.TrimSpace(string(v)) == "" {
			return other
		}
	case map[string]any, []any:
		switch other.(type) {
		case string, safe, json.Number, int:
			return other
		}
	}
	return v
}

func get(from any, path string) any {
	if m, ok := from.(missing); ok {
		return m
	}
	return lookUp(from, strings.Split(strings.TrimPrefix(path, "."), ".")...)
}

func asJSON(v any) (any, error) {
	if m, ok := v.(missing); ok {
		return m, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, &valueError{"cannot be JSON: " + err.Error()}
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func truncate(length int, v any) (any, error) {
	if length < 1 {
		return nil, &valueError{"truncate needs a length of 1 at least"}
	}
	switch v := v.(type) {
	case missing:
		return v, nil
	case safe:
		return safe(cutText(string(v), length)), nil
	}
	text, err := textOf(v)
	if err != nil {
		return missingFor("%s", err), nil
	}
	return cutRunes(text, length), nil
}

func printf(format string, args ...any) (any, error) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case missing:
			return arg, nil
		case nil, map[string]any, []any, *slackView:
			_, err := textOf(arg)
			return nil, err
		case safe:
			args[i] = unescapeMrkdwn(string(arg))
		}
	}
	return fmt.Sprintf(format, args...), nil
}

// date shows a time: a time.Time, text as RFC 3339 has it, or seconds of Unix.
func date(layout, zone string, v any) (any, error) {
	location, err := time.LoadLocation(zone)
	if err != nil {
		return nil, &valueError{fmt.Sprintf("does not know the time zone %q", zone)}
	}
	var at time.Time
	switch v := v.(type) {
	case missing:
		return v, nil
	case time.Time:
		at = v
	case string:
		if at, err = time.Parse(time.RFC3339, v); err != nil {
			return missingFor("%q is not a time; date needs one as 2026-01-31T08:00:00Z", cutRunes(v, 40)), nil
		}
	case json.Number:
		seconds, err := v.Int64()
		if err != nil {
			return missingFor("%s is not a time in seconds", v), nil
		}
		at = time.Unix(seconds, 0)
	default:
		return missingFor("is not a time; date needs one as 2026-01-31T08:00:00Z"), nil
	}
	return at.In(location).Format(layout), nil
}

// person is who a contact is, from what it has of a name and an address.
func person(v any) any {
	contact, ok := v.(map[string]any)
	if !ok {
		if m, ok := v.(missing); ok {
			return m
		}
		return missingFor("person needs a contact, an object with names and an address")
	}
	part := func(keys ...string) string {
		for _, key := range keys {
			if s, ok := contact[key].(string); ok && strings.TrimSpace(s) != "" {
				return plainText(s)
			}
		}
		return ""
	}
	name := strings.TrimSpace(part("first_name") + " " + part("last_name"))
	if name == "" {
		name = part("name")
	}
	address := part("email_address", "email", "phone_number")
	switch {
	case name == "" && address == "":
		return missingFor("the contact has neither a name nor an address")
	case name == "":
		return address
	case address == "":
		return name
	}
	return name + " (" + address + ")"
}

// htmlTag is a tag or a comment; a < that begins none stays.
var htmlTag = regexp.MustCompile(`</?[A-Za-z][^<>]*>|<!--.*?-->`)

// plainText takes out tags and entities and makes one line of what is left.
func plainText(s string) string {
	return strings.Join(strings.Fields(html.UnescapeString(htmlTag.ReplaceAllString(s, " "))), " ")
}

// asWords reads an identifier aloud.
func asWords(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("_-/. ", r) }), " ")
}
