package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/penstock/penstock/config"
)

// decode reads text as the value of a key v.
func decode[T any](t *testing.T, text string) (T, error) {
	t.Helper()
	n, err := config.NodeFrom("x.yaml", "v: "+text)
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		V T `yaml:"v"`
	}
	if ms := n.Decode(&into); len(ms) > 0 {
		return into.V, ms
	}
	return into.V, nil
}

// accepts checks what texts are read as; refuses, that they are mistakes.
func accepts[T any](t *testing.T, cases map[string]T) {
	t.Helper()
	for text, want := range cases {
		got, err := decode[T](t, text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s is read as %v, %v (-want +got)\n%s", text, got, err, diff)
		}
	}
}

func refuses[T any](t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if got, err := decode[T](t, text); err == nil {
			t.Errorf("%s is read as %v, want a mistake", text, got)
		} else if !strings.HasPrefix(err.Error(), "x.yaml:1:4: v") {
			t.Errorf("%s: %v, want it at x.yaml:1:4", text, err)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]time.Duration{
		"0": 0, "0s": 0, "10s": 10 * time.Second, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute,
		"7d": 168 * time.Hour, "1d12h": 36 * time.Hour, `"2m"`: 2 * time.Minute, "1.5h": 90 * time.Minute,
	})
	refuses[time.Duration](t, "10", "-1s", "1d-1h", "1d+1h", "d", "1.5d", "1w", "1d1d", "99999999d", "65535d9999999h", "ten", "''", "[1s]")
}

func TestSizes(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]config.Size{
		"0": 0, "1500": 1500, "512KiB": 512 << 10, "1MiB": 1 << 20, "10GB": 10e9, "1.5GiB": 3 << 29, "1 TiB": 1 << 40,
		"10mb": 10e6, "7B": 7,
	})
	refuses[config.Size](t, "-1", "+1", "10M", "MiB", "1e3", "1e3KB", "0x10", "1.5", "9999999TiB", "9.9e30TiB", "NaNKB", "infKB", "1_000", "{}")
	for size, want := range map[config.Size]string{
		0: "0", 1500: "1500", 512 << 10: "512KiB", 1 << 20: "1MiB", 10e9: "10GB", 3 << 29: "1536MiB", 1: "1",
	} {
		if got := size.String(); got != want {
			t.Errorf("Size(%d) = %s, want %s", int64(size), got, want)
		}
		if got, err := decode[config.Size](t, want); err != nil || got != size {
			t.Errorf("%s is read back as %v, %v", want, got, err)
		}
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]config.Rate{
		"50/s": {PerSecond: 50, Burst: 50}, "600/m": {PerSecond: 10, Burst: 10}, "1800/h": {PerSecond: 0.5, Burst: 1},
		"0.5/s": {PerSecond: 0.5, Burst: 1}, "2.5/s": {PerSecond: 2.5, Burst: 3}, "unlimited": {},
		"{rate: 50/s, burst: 10}": {PerSecond: 50, Burst: 10}, "{rate: 50/s}": {PerSecond: 50, Burst: 50},
		"{rate: unlimited, burst: 10}": {},
	})
	refuses[config.Rate](t, "50", "0/s", "-1/s", "NaN/s", "Inf/s", "1e9/s", "5/d", "/s", "5/", "5/s/s", "[5/s]",
		"{burst: 1}")
	for _, text := range []string{"{rate: 5/s, burst: 0}", "{rate: {rate: 5/s}}", "{rate: 5/s, more: 1}"} {
		if got, err := decode[config.Rate](t, text); err == nil {
			t.Errorf("%s is read as %v, want a mistake", text, got)
		}
	}
}

func TestStarts(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]config.Start{
		"now": {}, "beginning": {Beginning: true}, "-24h": {Since: 24 * time.Hour}, "-7d": {Since: 168 * time.Hour},
		"2026-01-31T08:00:00Z":      {At: time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)},
		"2026-01-31T08:00:00+02:00": {At: time.Date(2026, 1, 31, 6, 0, 0, 0, time.UTC)},
		"2026-01-31":                {At: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
	})
	refuses[config.Start](t, "24h", "-0s", "--24h", "yesterday", "''", "[now]", "{}")
}

func TestScalars(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]bool{"true": true, "false": false, `"true"`: true})
	refuses[bool](t, "yes", "1", "''", "[true]", "~")
	accepts(t, map[string]int8{"127": 127, "-128": -128, `"5"`: 5})
	refuses[int8](t, "128", "1.0", "0x10", "1_0", "''", "~")
	accepts(t, map[string]uint16{"0": 0, "65535": 65535})
	refuses[uint16](t, "-1", "65536")
	accepts(t, map[string]float64{"0.5": 0.5, "3": 3, "1e-3": 0.001})
	refuses[float64](t, ".nan", "NaN", ".inf", "Inf", "x")
	accepts(t, map[string]string{"word": "word", "123": "123", "true": "true", "''": "", "2026-01-31": "2026-01-31", "0x1F": "0x1F"})
	refuses[string](t, "[a]", "{a: b}", "~", "null")
	accepts(t, map[string][]string{"[a, 1]": {"a", "1"}, "[]": {}, "one": {"one"}})
	accepts(t, map[string]map[string]int{"{a: 1}": {"a": 1}, "{}": {}})
	refuses[map[string]int](t, "a", "[a]")
	accepts(t, map[string]config.Secret{"hunter2": config.NewSecret("hunter2")})
}

type options struct {
	Pos     config.Pos
	URL     string `yaml:"url,required"`
	Key     string `yaml:"key_file,path"`
	Method  string `yaml:"method" oneof:"POST PUT"`
	Retries *int   `yaml:"retries" range:"0..5"`
	Low     int    `yaml:"low" range:"3.."`
	High    int    `yaml:"high" range:"..3"`
	Nested  struct {
		Token config.Secret `yaml:"token"`
	} `yaml:"nested"`
	Raw     config.Node `yaml:"raw"`
	Ignored string
}

func TestDecodeStruct(t *testing.T) {
	t.Parallel()
	n, err := config.NodeFrom("dir/x.yaml", "url: a\nkey_file: k.pem\nmethod: PUT\nretries: 5\nlow: 3\nhigh: 3\nnested: {token: hunter2}\nraw: {any: [thing]}\n")
	if err != nil {
		t.Fatal(err)
	}
	var o options
	if ms := n.Decode(&o); len(ms) > 0 {
		t.Fatal(ms)
	}
	if o.URL != "a" || o.Key != "dir/k.pem" || o.Method != "PUT" || *o.Retries != 5 || o.Nested.Token.Reveal() != "hunter2" {
		t.Errorf("decoded %+v", o)
	}
	if want := (config.Pos{File: "dir/x.yaml", Line: 1, Column: 1}); o.Pos != want {
		t.Errorf("Pos = %v, want %v", o.Pos, want)
	}
	if got := o.Raw.Get("any"); got.IsZero() || got.Path != "raw.any" || got.Pos().String() != "dir/x.yaml:8:12" {
		t.Errorf("raw.any is %q at %v", got.Path, got.Pos())
	}
}

func TestDecodeKeepsDefaultsAndSaysAllMistakes(t *testing.T) {
	t.Parallel()
	n, err := config.NodeFrom("x.yaml", "key_file: [a]\nmethod: GET\nretries: 6\nlow: 2\nhigh: 4\nnested: hunter2\nIgnored: x\n")
	if err != nil {
		t.Fatal(err)
	}
	three := 3
	o := options{Key: "default", Method: "POST", Retries: &three, Low: 7}
	got := n.Decode(&o)
	want := `x.yaml:1:1: has no url; add url: ...
x.yaml:1:11: key_file: needs a string, got a list; write a word, or a text between quotes
x.yaml:2:9: method: must be one of POST, PUT, got "GET"
x.yaml:3:10: retries: must be between 0 and 5, got "6"
x.yaml:4:6: low: must be at least 3, got "2"
x.yaml:5:7: high: must be at most 3, got "4"
x.yaml:6:9: nested: needs a mapping, got a single value; its keys are token, token_file
x.yaml:7:1: Ignored: unknown key; known keys: url, key_file, method, retries, low, high, nested, raw`
	if diff := cmp.Diff(want, got.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if o.Key != "default" || o.Method != "POST" || *o.Retries != 3 || three != 3 || o.Low != 7 {
		t.Errorf("wrong values replaced the defaults: %+v", o)
	}
}

// color is a Decoder of somebody else's.
type color string

func (c *color) DecodeNode(n config.Node) config.Mistakes {
	var s string
	if ms := n.Decode(&s); len(ms) > 0 {
		return ms
	}
	if *c = color(s); s != "red" {
		return config.Mistakes{n.Errorf("", "is not a colour", "write red")}
	}
	return nil
}

func TestDecodeCustomType(t *testing.T) {
	t.Parallel()
	accepts(t, map[string]color{"red": "red"})
	refuses[color](t, "blue", "[red]", "~")
	if got, _ := decode[color](t, "blue"); got != "" {
		t.Errorf("a refused value replaced the default: %q", got)
	}
}

func TestDecodeUnknownTypePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("decoding into a channel did not panic")
		}
	}()
	got, err := decode[chan int](t, "x")
	t.Errorf("decoded %v, %v", got, err)
}

func TestNodeErrorf(t *testing.T) {
	t.Parallel()
	n, err := config.NodeFrom("x.yaml", "a:\n  b: c\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  config.Mistake
		want string
	}{
		{"at a value", n.Get("a").Errorf("b", "is c", "write d"), "x.yaml:2:6: a.b: is c; write d"},
		{"at a mapping, by its key", n.Errorf("a", "is odd", ""), "x.yaml:1:1: a: is odd"},
		{"at a missing key", n.Get("a").Errorf("z", "is missing", ""), "x.yaml:1:1: a.z: is missing"},
		{"at the node", n.Get("a").Get("b").Errorf("", "is c", ""), "x.yaml:2:6: a.b: is c"},
		{"nowhere", config.Node{}.Errorf("a", "is missing", ""), "a: is missing"},
	} {
		if got := tt.got.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if !n.Get("z").IsZero() || n.Get("a").IsZero() || n.Get("a").Get("b").Get("c").Keys() != nil {
		t.Error("Get and Keys of what is not there")
	}
	if diff := cmp.Diff([]string{"a"}, n.Keys()); diff != "" {
		t.Error(diff)
	}
}

func TestNodeFromRefusesBadYAML(t *testing.T) {
	t.Parallel()
	_, err := config.NodeFrom("x.yaml", "a: [")
	var ms config.Mistakes
	if !errors.As(err, &ms) || len(ms) != 1 {
		t.Errorf("NodeFrom = %v, want one mistake", err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"timeout", "concurrency", "rate", "retry", "orders.invoice.paid", "to"}
	for word, want := range map[string]string{
		"timout": "timeout", "TIMEOUT": "timeout", "tiemout": "timeout", "timeouts": "timeout", "rat": "rate", "retyr": "retry",
		"order.invoice.payed": "orders.invoice.paid", "too": "to", "colour": "", "": "", "x": "", "zz": "",
		strings.Repeat("timeout", 1000): "",
	} {
		if got := config.Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := config.Nearest("a", nil); got != "" {
		t.Errorf("Nearest of nothing = %q", got)
	}
}

func ExampleNearest() {
	fmt.Println(config.Nearest("timout", []string{"kind", "timeout", "rate"}))
	// Output: timeout
}

func ExampleNode_Decode() {
	n, err := config.NodeFrom("penstock.yaml", "url: https://example.com\ntimout: 5s\nworkers: 0\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	o := struct {
		URL     string        `yaml:"url,required"`
		Timeout time.Duration `yaml:"timeout"`
		Workers int           `yaml:"workers" range:"1..10"`
	}{Timeout: time.Second, Workers: 2}
	for _, m := range n.Decode(&o) {
		fmt.Println(m)
	}
	// Output:
	// penstock.yaml:2:1: timout: unknown key; did you mean timeout?
	// penstock.yaml:3:10: workers: must be between 1 and 10, got "0"
}
