package reference_test

import (
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/penstock/penstock/internal/reference"
)

// each calls f for a list of keys and all below them, with their paths.
func each(prefix string, keys []reference.Key, f func(path string, k reference.Key)) {
	for _, k := range keys {
		f(prefix+k.Name, k)
		each(prefix+k.Name+".", k.Keys, f)
		if k.Item != nil {
			each(prefix+k.Name+"[].", k.Item.Keys, f)
		}
	}
}

// TestEveryKeyShowsAValue: beside each key stands how its value is written.
func TestEveryKeyShowsAValue(t *testing.T) {
	t.Parallel()
	check := func(path string, k reference.Key) {
		hasKeys := len(k.Keys) > 0 || k.Item != nil && len(k.Item.Keys) > 0
		if !hasKeys && k.Example() == "" && k.Default == "" {
			t.Errorf("%s has neither a default nor an example: give its field the tag example", path)
		}
		var v struct{ Key any }
		if err := yaml.Unmarshal([]byte("key: "+k.Example()), &v); err != nil {
			t.Errorf("%s: the example %s is not as a file would write it: %v", path, k.Example(), err)
		}
		if _, ok := v.Key.(map[string]any); ok && k.Form == reference.Text {
			t.Errorf("%s: YAML reads the example %s as a mapping", path, k.Example())
		}
	}
	f := describe(t)
	each("server.", f.Server, check)
	each("broker.", f.Broker, check)
	each("source.", f.Source, check)
	each("sink.", f.Sink, check)
	each("route.", f.Route, check)
	each("test.", f.Test, check)
	for kind, k := range f.Kinds {
		each(kind+".", k.Keys, check)
	}
}
