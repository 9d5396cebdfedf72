package sinks

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
)

// templateEvent is what the templates under test are run over.
const templateEvent = `{"data":{"id":12345678901234567890,"amount":"1234.5","yen":"1200","tiny":0.005,"currency":"usd","none":null,"empty":"",
	"name":"Ada <b>& Co</b>","status":"past_due","at":"2026-11-20T14:03:25.004Z","count":7,"yes":true,
	"items":[{"name":"Apron"},{"name":"Towel"}],"contact":{"first_name":"Ada","last_name":"L","email":"ada@example.com"},
	"order":{"contact":null}}}`

// runTemplate runs text over templateEvent as mrkdwn.
func runTemplate(t testing.TB, text string) (string, error) {
	t.Helper()
	n, err := config.NodeFrom("penstock.yaml", "text: |\n    "+strings.ReplaceAll(text, "\n", "\n    "))
	if err != nil {
		t.Fatal(err)
	}
	tmpl, mistakes := newTemplate(n.Get("text"), "text", n.Get("text").Scalar().(string), true)
	if len(mistakes) > 0 {
		t.Fatalf("template %q: %v", text, mistakes)
	}
	e := sampleEvent()
	e.Body = []byte(templateEvent)
	return tmpl.run(newSlackView(e))
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{ .ID }} {{ .Type }} {{ .Subject }} {{ .Source }} {{ .APIVersion }}": "0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10 orders/invoice.paid orders.invoice.paid clickfunnels 2",
		"{{ .Received }}": "2026-11-23T11:34:56Z",
		"{{ .Data.id }}":  "12345678901234567890",

		// Escaping.
		"<b> & {{ .Data.name }}":             "<b> & Ada &lt;b&gt;&amp; Co&lt;/b&gt;",
		"{{ .Data.name | mrkdwn }}":          "Ada &lt;b&gt;&amp; Co&lt;/b&gt;",
		"{{ .Data.name | mrkdwn | mrkdwn }}": "Ada &lt;b&gt;&amp; Co&lt;/b&gt;",
		"{{ .Data.name | raw }}":             "Ada <b>& Co</b>",
		"{{ mrkdwn .Data.name | upper }}":    "ADA &lt;B&gt;&amp; CO&lt;/B&gt;",
		"{{ printf \"%s!\" .Data.name }}":    "Ada &lt;b&gt;&amp; Co&lt;/b&gt;!",
		"{{ json .Data.contact }}":           `{"email":"ada@example.com","first_name":"Ada","last_name":"L"}`,
		"{{ json .Data.name }}":              `"Ada &lt;b&gt;&amp; Co&lt;/b&gt;"`,
		"{{ plain .Data.name }}":             "Ada &amp; Co",
		"{{ plain \"a < b &amp; <br/>c\" }}": "a &lt; b &amp; c",

		// What is missing.
		`{{ .Data.a.b.c | default "someone" }}`:                                       "someone",
		`{{ get .Data "a.b.c" | default "someone" }}`:                                 "someone",
		`{{ get .Data "items.1.name" }}`:                                              "Towel",
		`{{ get .Data "items.9.name" | default "none" }}`:                             "none",
		`{{ .Data.none | default "x" }}{{ .Data.empty | default "y" }}`:               "xy",
		`{{ .Data.order.contact.email | default .Data.contact.email }}`:               "ada@example.com",
		`{{ .Data.a | upper | truncate 3 | default "none" }}`:                         "none",
		`{{ money .Data.a .Data.currency | default "nothing" }}`:                      "nothing",
		`{{ date "2006" "UTC" .Data.a | default "never" }}`:                           "never",
		`{{ with .Data.a }}x{{ . }}{{ else }}none{{ end }}`:                           "none",
		`{{ if .Data.a.b }}x{{ else }}none{{ end }}`:                                  "none",
		`{{ if not .Data.a }}none{{ end }}`:                                           "none",
		`{{ range .Data.a }}x{{ else }}none{{ end }}`:                                 "none",
		`{{ or .Data.a .Data.none .Data.status }}`:                                    "past_due",
		`{{ len .Data.a }}`:                                                           "0",
		`{{ $c := .Data.contact }}{{ $c.email }} {{ $.Data.count }}`:                  "ada@example.com 7",
		`{{ with .Data.contact }}{{ .first_name }}{{ end }}`:                          "Ada",
		`{{ range .Data.items }}[{{ .name }}{{ .sku | default "" }}]{{ end }}`:        "[Apron][Towel]",
		`{{ (index .Data.items 0).name }}`:                                            "Apron",
		`{{ define "who" }}{{ person .Data.contact }}{{ end }}{{ template "who" . }}`: "Ada L (ada@example.com)",

		// Money.
		`{{ money .Data.amount .Data.currency }}`:        "$1,234.50",
		`{{ money "49.00" "EUR" }}`:                      "€49.00",
		`{{ money .Data.yen "JPY" }}`:                    "¥1,200",
		`{{ money "1234567.891" "KWD" }}`:                "KWD 1,234,567.891",
		`{{ money "-5" "GBP" }}`:                         "-£5.00",
		`{{ money .Data.count "CHF" }}`:                  "CHF 7.00",
		`{{ money .Data.tiny "USD" }}`:                   "$0.01",
		`{{ money 12 "QQQ" }}`:                           "QQQ 12.00",
		`{{ money "12" "<b>" }}`:                         "12.00",
		`{{ money "999.999" .Data.none }}`:               "1,000.00",
		`{{ money "1e999999999" "USD" | default "no" }}`: "no",
		`{{ money "lots" "USD" | default "no" }}`:        "no",

		// Dates.
		`{{ date "2 Jan 2006 15:04" "Europe/Paris" .Data.at }}`: "20 Nov 2026 15:03",
		`{{ date "15:04 MST" "UTC" .Received }}`:                "11:34 UTC",
		`{{ date "2006" "UTC" .Data.count }}`:                   "1970",
		`{{ date "2006" "UTC" .Data.name | default "never" }}`:  "never",

		// Text and comparisons.
		`{{ truncate 5 .Data.name }}`:                                  "Ada …",
		`{{ .Data.name | mrkdwn | truncate 7 }}`:                       "Ada …",
		`{{ truncate 99 .Data.status | upper }}`:                       "PAST_DUE",
		`{{ words .Data.status }}`:                                     "past due",
		`{{ lower "ABC" }}`:                                            "abc",
		`{{ if eq .Data.status "past_due" }}late{{ end }}`:             "late",
		`{{ if ne .Data.a "x" }}differs{{ end }}`:                      "differs",
		`{{ if eq .Data.amount 1234.50 }}same{{ end }}`:                "same",
		`{{ if gt .Data.amount 1000 }}large{{ end }}`:                  "large",
		`{{ if lt .Data.count 7 }}x{{ else }}no{{ end }}`:              "no",
		`{{ if and (ge .Data.count 7) (le .Data.count 7) }}7{{ end }}`: "7",
		`{{ if eq .Data.yes true }}yes{{ end }}`:                       "yes",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got, err := runTemplate(t, text); err != nil || got != want {
				t.Errorf("%s\n got %s (%v)\nwant %s", text, got, err, want)
			}
		})
	}
}

func TestTemplatesThatFailOverAnEvent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"paid by {{ .Data.order.contact.email_address }}": "penstock.yaml:2:16: text: .Data.order.contact.email_address is not in this event: .Data.order.contact is null",
		"one\n{{ .Data.a.b }}":                            "penstock.yaml:3:8: text: .Data.a.b is not in this event: .Data has no a",
		"{{ .Data.none }}":                                "penstock.yaml:2:8: text: .Data.none is null in this event",
		"{{ .Data.contact }}":                             "penstock.yaml:2:8: text: is an object; name one of its keys, or use json",
		"{{ .Data.items }}":                               "penstock.yaml:2:8: text: is a list; use get with an index, range, or json",
		"{{ . }}":                                         "penstock.yaml:2:8: text: is the event; name one of its fields",
		"{{ money .Data.name \"USD\" }}":                  `penstock.yaml:2:8: text: "Ada <b>& Co</b>" is not an amount of money`,
		"{{ person .Data.items }}":                        "penstock.yaml:2:8: text: person needs a contact, an object with names and an address",
		"{{ printf \"%s\" .Data.contact }}":               "penstock.yaml:2:8: text: is an object; name one of its keys, or use json",
		"{{ printf \"%s\" .Data.a }}":                     "penstock.yaml:2:8: text: .Data.a is not in this event: .Data has no a",
		"{{ if gt .Data.name 1 }}x{{ end }}":              `penstock.yaml:2:11: text: "Ada <b>& Co</b>" is not a number to compare`,
		"{{ index .Data.items 7 }}":                       "penstock.yaml:2:8: text: ",
		"{{ truncate 0 .Data.name }}":                     "penstock.yaml:2:8: text: truncate needs a length of 1 at least",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			got, err := runTemplate(t, text)
			if err == nil || !strings.HasPrefix(err.Error(), want) || got != "" {
				t.Errorf("%s\n got %q (%v)\nwant %s", text, got, err, want)
			}
		})
	}
}

func TestTemplateThatNeverEnds(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(`{{ define "x" }}` + strings.Repeat("y", 1<<16) + `{{ end }}`)
	for range 100 {
		text.WriteString(`{{ template "x" }}`)
	}
	_, err := runTemplate(t, text.String())
	if err == nil || !strings.Contains(err.Error(), "prints more than 4 MiB") {
		t.Errorf("run = %v, want it to be stopped", err)
	}
}

func TestEveryFunctionOfTemplatesIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range templateFuncs() {
		if !strings.HasPrefix(f.signature, f.name+" ") || len(f.doc) < 3 || strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s: signature %q, doc %q", f.name, f.signature, f.doc)
		}
	}
	for _, f := range slackFields() {
		if _, ok := (&slackView{}).field(f.name); !ok || f.doc == "" {
			t.Errorf("field %s is not there, or has no doc", f.name)
		}
	}
}

func TestCutText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		max  int
		want string
	}{
		"short":              {"abc", 3, "abc"},
		"cut":                {"abcd", 3, "ab…"},
		"runes":              {"üüüü", 3, "üü…"},
		"within an escape":   {"ab&amp;cd", 6, "ab…"},
		"after an escape":    {"ab&amp;cd", 8, "ab&amp;…"},
		"within a link":      {"ab <https://x|y> cd", 12, "ab …"},
		"after a link":       {"<a|b> & more", 8, "<a|b> …"},
		"a lone less-than":   {"a < bcdefgh", 6, "a < b…"},
		"a lone ampersand":   {"AT&T and so on", 8, "AT&T an…"},
		"all of one escape":  {"&amp;&amp;", 4, "…"},
		"link, then escaped": {"<x>&lt;y", 6, "<x>…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := cutText(tt.text, tt.max); got != tt.want {
				t.Errorf("cutText(%q, %d) = %q, want %q", tt.text, tt.max, got, tt.want)
			}
		})
	}
}

// FuzzSlackText runs the default messages and a text over any body: no body
// makes either panic, print what it must not, or exceed a limit.
func FuzzSlackText(f *testing.F) {
	f.Add([]byte(templateEvent), "orders.invoice.paid")
	f.Add([]byte(`{"data":{"type":"x","attributes":{"name":"<!here>"}}}`), "contact.created")
	f.Add([]byte("{"), "")
	defaults, err := newSlackMessages()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, subject string) {
		e := sampleEvent()
		e.Body, e.Subject, e.Type = body, subject, ""
		text, err := defaults.of(e).text.run(newSlackView(e))
		if err != nil {
			t.Fatalf("default message of %q: %v", subject, err)
		}
		if strings.ContainsAny(text, "<>") || brokenEscape.MatchString(text) || strings.Contains(text, "map[") && !strings.Contains(string(body), "map[") {
			t.Errorf("default message of %q: %s", subject, text)
		}
		if cut := cutText(text, 20); strings.Count(cut, "") > 21 || brokenEscape.MatchString(strings.TrimSuffix(cut, "…")) {
			t.Errorf("cut to %q", cut)
		}
	})
}
