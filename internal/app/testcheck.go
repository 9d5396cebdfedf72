package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// CheckTests returns the mistakes of tests of rules that show without running
// them: events that cannot be made, and expectations of what there is not.
func CheckTests(c *config.Config, tests []config.Test) config.Mistakes {
	k := testChecker{trials: &Trials{config: c, catalog: clickfunnels.NewCatalog()}}
	for _, s := range c.Sinks {
		k.sinks = append(k.sinks, s.Name)
	}
	for _, s := range c.Sources {
		k.sources = append(k.sources, s.Name)
	}
	for _, t := range tests {
		k.event(t)
		k.expect(t)
	}
	return k.ms
}

type testChecker struct {
	trials         *Trials
	sinks, sources []string
	ms             config.Mistakes
}

func (k *testChecker) say(m config.Mistake) { k.ms = append(k.ms, m) }

// event checks what a test routes.
func (k *testChecker) event(t config.Test) {
	if s := t.Event.Source; s != "" && !slices.Contains(k.sources, s) {
		k.say(t.At("event", "source").Errorf("", fmt.Sprintf("no source is named %q", s), near(s, k.sources)))
	}
	body, err := k.trials.Sample(t.Event.Type.Name, clickfunnels.SampleOptions{Version: t.Event.Version, Now: time.Unix(0, 0)})
	if err != nil {
		at := "type"
		if _, known := k.trials.catalog.Resolve(t.Event.Type.Name); known {
			at = "version"
		}
		what, hint, _ := strings.Cut(err.Error(), "; ")
		k.say(t.At("event", at).Errorf("", what, hint))
		return
	}
	k.set(t, body)
}

// set checks what a test changes in a sample.
func (k *testChecker) set(t config.Test, sample []byte) {
	set := t.At("event", "set")
	if set.IsZero() {
		return
	}
	if set.Shape() != config.Mapping {
		k.say(set.Errorf("", "needs a mapping of paths to values", `write {data.total_amount: "49.00"}`))
		return
	}
	var body map[string]any
	if err := json.Unmarshal(sample, &body); err != nil {
		return // never: samples are objects
	}
	var before []clickfunnels.Assignment
	if data := t.At("event", "data"); !data.IsZero() {
		before = append(before, clickfunnels.Assignment{Path: "data", Value: string(data.JSON())})
	}
	for _, path := range set.Keys() {
		one := clickfunnels.Assignment{Path: path, Value: string(set.Get(path).JSON())}
		o := clickfunnels.SampleOptions{Version: t.Event.Version, Now: time.Unix(0, 0), Set: append(before[:len(before):len(before)], one)}
		first, _, _ := strings.Cut(path, ".")
		if err := one.Check(); err != nil {
			k.say(set.KeyErrorf(path, "is not a path: a step of it is empty", "write one dot between steps, as in data.total_amount"))
		} else if _, err := k.trials.Sample(t.Event.Type.Name, o); err != nil {
			_, what, _ := strings.Cut(err.Error(), "set "+path+": ")
			k.say(set.KeyErrorf(path, what, "the steps of a path are keys, and indexes from 0"))
		} else if _, there := body[first]; !there {
			m := set.KeyErrorf(path, "an event has no "+first, near(first, slices.Sorted(maps.Keys(body))))
			m.Warning = true
			k.say(m)
		} else {
			before = append(before, one)
		}
	}
}

// expect checks what a test expects.
func (k *testChecker) expect(t config.Test) {
	not := map[string]bool{}
	for i, ref := range t.Expect.NotSinks {
		not[ref.Name] = true
		k.sink(t.At("expect", "not_sinks"), i, ref)
	}
	for i, ref := range t.Expect.Sinks {
		if at := k.sink(t.At("expect", "sinks"), i, ref); not[ref.Name] {
			k.say(at.Errorf("", "is also in not_sinks", "remove one"))
		}
	}
	transform := t.At("expect", "transform")
	if !transform.IsZero() && transform.Shape() != config.Mapping {
		k.say(transform.Errorf("", "needs a mapping", "write {sink: {key: value}}"))
	}
	for _, sink := range transform.Keys() {
		switch {
		case !slices.Contains(k.sinks, sink):
			k.say(transform.KeyErrorf(sink, fmt.Sprintf("no sink is named %q", sink), near(sink, k.sinks)))
		case not[sink]:
			k.say(transform.KeyErrorf(sink, "is also in not_sinks", "remove one"))
		}
	}
}

// sink checks the name of one, and returns its place in a list, or alone.
func (k *testChecker) sink(list config.Node, i int, ref config.Ref) config.Node {
	at := list
	if items := list.Items(); list.Shape() == config.List && i < len(items) {
		at = items[i]
	}
	if !slices.Contains(k.sinks, ref.Name) {
		k.say(at.Errorf("", fmt.Sprintf("no sink is named %q", ref.Name), near(ref.Name, k.sinks)))
	}
	return at
}

// near is the hint for a name that is not known.
func near(name string, known []string) string {
	switch found := config.Nearest(name, known); {
	case found != "":
		return "did you mean " + found + "?"
	case len(known) == 0:
		return "there are none"
	}
	return "there are " + strings.Join(known, ", ")
}
