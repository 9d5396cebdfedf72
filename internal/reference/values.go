package reference

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
)

// describe names a type to people, with an example.
func describe(t reflect.Type, isPath bool) (kind, example string) {
	switch t {
	case reflect.TypeFor[config.Secret]():
		return "text, secret; or `_file`", "${SECRET}"
	case reflect.TypeFor[[]config.Secret]():
		return "list of texts, secret; or `_file`", `["${SECRET}"]`
	case reflect.TypeFor[time.Duration]():
		return "duration", "10s"
	case reflect.TypeFor[config.Size]():
		return "size", "1MiB"
	case reflect.TypeFor[config.Rate]():
		return "rate", "50/s"
	case reflect.TypeFor[config.Start]():
		return "`now`, `beginning`, an age, or a time", "-24h"
	case reflect.TypeFor[netip.Prefix]():
		return "network", "10.0.0.0/8"
	case reflect.TypeFor[config.Ref]():
		return "name", "crm"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem(), isPath)
	case reflect.Slice:
		kind, example = describe(t.Elem(), isPath)
		return "list: " + kind, "[" + example + "]"
	case reflect.Map:
		kind, example = describe(t.Elem(), isPath)
		return "mapping: " + kind, "{name: " + example + "}"
	case reflect.Bool:
		return "`true`, `false`", "true"
	case reflect.Float32, reflect.Float64:
		return "number", "0.5"
	case reflect.String:
		if isPath {
			return "file", "penstock.pem"
		}
		return "text", "text"
	case reflect.Struct:
		return "mapping", "{}"
	}
	return "whole number", "3"
}

// bounds are those of a range tag in words.
func bounds(tag string) string {
	low, high, ok := strings.Cut(tag, "..")
	switch {
	case !ok:
		return ""
	case high == "":
		return ", at least " + low
	case low == "":
		return ", at most " + high
	}
	return ", " + low + " to " + high
}

// show writes a default as the file would, empty when there is nothing.
func show(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case config.Secret:
		return ""
	case time.Duration:
		return showDuration(x)
	case config.Size:
		return x.String()
	case config.Rate:
		if x.PerSecond == 0 {
			return "unlimited"
		}
		return strconv.FormatFloat(x.PerSecond, 'g', -1, 64) + "/s"
	case config.Start:
		if x == (config.Start{}) {
			return "now"
		}
	}
	switch v.Kind() {
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = show(v.Index(i))
		}
		if len(items) == 0 {
			return ""
		}
		return "[" + strings.Join(items, ", ") + "]"
	case reflect.Map, reflect.Pointer, reflect.Struct, reflect.Interface:
		return ""
	}
	return fmt.Sprint(v.Interface())
}

// showDuration leaves out the zero units that Go writes: 72h, 1m.
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
