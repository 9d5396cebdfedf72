package config

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const ruleFile = `
server: {admin_token: "${SECRET}"}
sources: {shop: {kind: clickfunnels, secrets: ["${SECRET}"], subject_prefix: shop}, cf: {kind: clickfunnels, secrets: [abc]}}
sinks: {crm: {kind: http, url: "https://${SECRET}@crm.example.com"}, lake: {kind: log}}
routes:
  - name: large
    match: ["*.invoice.paid", contact.created]
    when: data.shop == "${SHOP}" && data.total > 1
    to: [crm, lake]
    transform:
      id: event.id
      lines: ["data.a", {b: data.b}]
      unset: data.x == "${UNSET}"
  - {match: [">"], to: [lake]}
default: [lake]
`

// TestRuleSet: what decides where events go survives being sent, places and
// filled in variables with it, and nothing else is sent.
func TestRuleSet(t *testing.T) {
	t.Parallel()
	env := map[string]string{"SECRET": "not-to-be-sent", "SHOP": "the-shop"}
	c, ms := Parse("new.yaml", []byte(ruleFile), Options{NoEnv: true, Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		t.Fatal(fatal)
	}
	sent, err := json.Marshal(c.Rules())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"not-to-be-sent", "abc", "crm.example.com"} {
		if strings.Contains(string(sent), secret) {
			t.Errorf("%q is sent:\n%s", secret, sent)
		}
	}
	var set RuleSet
	if err := json.Unmarshal(sent, &set); err != nil {
		t.Fatal(err)
	}
	got, err := set.Config()
	if err != nil {
		t.Fatalf("Config: %v", err)
	}
	if len(got.Routes) != 2 || got.Routes[1].Name != "route-2" || got.Sinks[0].Kind != "http" || got.Sources[0].SubjectPrefix != "shop" || got.Default[0].Name != "lake" {
		t.Errorf("got %+v", got)
	}
	sameNodes(t, "when", c.Routes[0].When, got.Routes[0].When)
	sameNodes(t, "transform", c.Routes[0].Transform, got.Routes[0].Transform)
	if when := got.Routes[0].When; when.Text() != `data.shop == "the-shop" && data.total > 1` || when.Raw() == when.Text() {
		t.Errorf("when is %q, as written %q", when.Text(), when.Raw())
	}
	if at := got.Routes[0].When.Pos().String(); at != "new.yaml:8:11" {
		t.Errorf("when is at %s", at)
	}
	if !got.Routes[1].When.IsZero() || !got.Routes[0].Transform.Get("unset").Unresolved() {
		t.Error("what is not there is, or what has no value has one")
	}
}

func sameNodes(t *testing.T, what string, want, got Node) {
	t.Helper()
	if want.Shape() != got.Shape() || want.Text() != got.Text() || want.Raw() != got.Raw() || want.Pos() != got.Pos() ||
		want.Unresolved() != got.Unresolved() || !slices.Equal(want.Keys(), got.Keys()) || len(want.Items()) != len(got.Items()) {
		t.Errorf("%s is %q at %s, want %q at %s", what, got.Text(), got.Pos(), want.Text(), want.Pos())
		return
	}
	for _, key := range want.Keys() {
		sameNodes(t, what+"."+key, want.Get(key), got.Get(key))
	}
	for i, item := range want.Items() {
		sameNodes(t, what+"[]", item, got.Items()[i])
	}
}

func TestRuleSetThatIsNone(t *testing.T) {
	t.Parallel()
	deep := &RulePart{Shape: List}
	for range 100 {
		deep = &RulePart{Shape: List, Values: []RulePart{*deep}}
	}
	for name, p := range map[string]*RulePart{
		"a shape that is not": {Shape: 9},
		"a key without value": {Shape: Mapping, Keys: []string{"a"}},
		"too deep":            deep,
	} {
		set := RuleSet{Routes: []RuleRoute{{Transform: p}}}
		if _, err := set.Config(); err == nil || err.Error() != "routes[0].transform: is no part of a rule" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
