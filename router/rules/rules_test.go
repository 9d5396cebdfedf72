package rules

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

func mustLanguage(t testing.TB) *Language {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// node is the value of the key x of a file.
func node(t testing.TB, text string) config.Node {
	t.Helper()
	n, err := config.NodeFrom("penstock.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	return n.Get("x")
}

// quoted writes an expression as a YAML value.
func quoted(expression string) string {
	return "x: '" + strings.ReplaceAll(expression, "'", "''") + "'\n"
}

func mustCondition(t testing.TB, expression string) *Condition {
	t.Helper()
	c, ms := mustLanguage(t).Condition(node(t, quoted(expression)))
	if len(ms) > 0 {
		t.Fatalf("%s: %v", expression, ms)
	}
	return c
}

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func invoice() *event.Event {
	return &event.Event{
		ID: "e1", Type: "orders/invoice.paid", Subject: "orders.invoice.paid", Source: "clickfunnels", APIVersion: 2,
		Received: now.Add(-time.Minute), ContentType: "application/json; charset=utf-8",
		Body: []byte(`{"event_id":"e1","data":{"id":9007199254740993,"total_amount":"149.00","currency":"USD","count":49,"digits":"9007199254740993","broken":"(","ratio":49.0,
			"big":18446744073709551615,"none":null,"paid_at":"2026-11-24T11:00:00.000Z","tags":["vip","new"],"text":"aaaaaaaaaa",
			"order":{"contact":{"email_address":"ada@example.com"},"id":7},"items":[{"sku":"A","n":2},{"sku":"B","n":1}]}}`),
	}
}

func TestCondition(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		expression string
		want       string // true, false, or part of the error
	}{
		{`double(data.total_amount) >= 100.0`, "true"},
		{`double(data.count) >= 49.0`, "true"},
		{`double(data.ratio) == 49.0`, "true"},
		{`money(data.total_amount) >= 100`, "true"},
		{`money(data.count) == 49 && money(data.ratio) == 49`, "true"},
		{`money("49.00") == 49.0 && money(" -3.10 ") < 0`, "true"},
		{`money(data.none) > 1`, `needs a number or a string such as "49.00", got null_type`},
		{`money(data.currency) > 1`, `money: "USD" is not an amount`},
		{`money(data.count) * 2 == 98 && 2 * money(data.count) + 1 == 99`, "true"},
		{`data.total_amount >= 100 && data.total_amount > 148.99 && 150 > data.total_amount`, "true"},
		{`data.total_amount < 100`, "false"},
		{`data.total_amount == 149 && data.total_amount == 149.0 && data.total_amount != 148`, "true"},
		{`data.total_amount in [148, 149]`, "true"},
		{`data.total_amount == "149.00" && data.total_amount != "149"`, "true"},
		{`data.total_amount <= data.count`, "false"},
		{`data.digits == 9007199254740993 && data.digits != 9007199254740992`, "true"},
		{`data.currency > 100`, `the text "USD" is not a number`},
		{`data.currency == 100`, "false"},
		{`data.none > 100`, `cannot work with these types`},
		{`data.order > 100`, `cannot work with these types`},
		{`[data.total_amount] == [149]`, "false"},
		{`date(now, data.currency) == ""`, "unknown time zone"},
		{`data.text.matches(data.currency) || regex.extract(data.text, data.broken) == optional.of("")`, "missing closing"},
		{`data.id == 9007199254740993`, "true"},
		{`data.id == 9007199254740992`, "false"},
		{`data.count == 49.0 && data.ratio == 49 && data.ratio > 48 && data.count < 49.5`, "true"},
		{`data.big == 18446744073709551615u && data.big > 5`, "true"},
		{`data.none == null`, "true"},
		{`has(data.none)`, "true"},
		{`has(data.nothing)`, "false"},
		{`has(data.order) && has(data.order.contact)`, "true"},
		{`data.nothing == 1`, "there is no nothing"},
		{`data.?nothing.?deeper.orValue("") == ""`, "true"},
		{`data.?order.?id.orValue(0) == 7`, "true"},
		{`data[?"order"].hasValue()`, "true"},
		{`data.tags.exists(t, t == "vip")`, "true"},
		{`"vip" in data.tags && data.tags.size() == 2`, "true"},
		{`data.items.map(i, i.n).sum() == 3`, "error"},
		{`math.greatest(data.items.map(i, i.n)) == 2`, "true"},
		{`sets.intersects(data.tags, ["vip"])`, "true"},
		{`data.order.contact.email_address.endsWith("@example.com")`, "true"},
		{`data.order.contact.email_address.matches("^[a-z]+@")`, "true"},
		{`data.currency.lowerAscii() == "usd" && data.currency in ["USD", "EUR"]`, "true"},
		{`regex.extract(data.order.contact.email_address, "@(.*)").orValue("") == "example.com"`, "true"},
		{`timestamp(data.paid_at) < now && now - timestamp(data.paid_at) < duration("2h")`, "true"},
		{`now - event.received <= days(1)`, "true"},
		{`date(event.received) == "2026-11-24" && date(now, "Asia/Tokyo") == "2026-11-24"`, "true"},
		{`event.received.getHours() == 11 && event.received.getDayOfWeek("Europe/Berlin") == 2`, "true"},
		{`event.id == "e1" && event.type == "orders/invoice.paid" && event.subject.startsWith("orders.")`, "true"},
		{`event.source == "clickfunnels" && event.api_version == 2`, "true"},
		{`headers["content-type"].startsWith("application/json")`, "true"},
		{`body.event_id == event.id && body.data.count == data.count`, "true"},
		{`cel.bind(t, money(data.total_amount), t > 100 && t < 200)`, "true"},
		{`data.count`, "is an int, neither true nor false"},
		{`data.missing || true`, "true"},
	} {
		t.Run(tt.expression, func(t *testing.T) {
			t.Parallel()
			l := mustLanguage(t)
			c, ms := l.Condition(node(t, quoted(tt.expression)))
			if len(ms) > 0 {
				if tt.want != "error" {
					t.Fatalf("does not compile: %v", ms)
				}
				return
			}
			got, err := c.Eval(t.Context(), NewInput(invoice(), now))
			switch {
			case tt.want == "true" || tt.want == "false":
				if err != nil || got != (tt.want == "true") {
					t.Errorf("got %v, %v; want %s", got, err, tt.want)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v, %v; want an error with %q", got, err, tt.want)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, want string }{
		{"x: dta.total > 1", "1:4: there is no dta; did you mean data?"},
		{"x: data.a == 1 && dta.total > 1", "1:19: there is no dta"},
		{"x: '''a'' == dta.b'", "1:14: there is no dta"},
		{`x: "'\u0061\"' == dta.b"`, "1:19: there is no dta"},
		{"x: |\n  data.a == 1 &&\n    dta.b == 2", "3:5: there is no dta"},
		{"x: >-\n\n  data.a == 1 &&\n  event.typ == 'a'", "4:3: event has no typ; did you mean type?"},
		{"x: &here data.a == dta", "1:20: there is no dta"},
		{"x:\n  data.a == 1 &&\n  dta.b", "3:3: there is no dta"},
		{"x: event.colour == ''", "1:4: event has no colour; it has id, type"},
		{"x: has(event.id)", "1:"},
		{"x: event == 1", "1:4: event is not a value by itself"},
		{"x: moneyy(data.a) > 1", "1:4: there is no function moneyy; did you mean money?"},
		{"x: event.type > 1", "1:15: > does not work with (string, int); write the number without quotes, or make one of the string with money(...)"},
		{"x: event.type == 1", "write the number between quotes, or make one"},
		{`x: data.total > "100.00"`, `1:17: compares with the text "100.00" letter by letter`},
		{`x: money(data.total) > "1"`, `1:22: > does not work with (double, string)`},
		{`x: event.api_version == double(data.a)`, `write the whole number with a point`},
		{`x: money("4,9") > 1`, `1:10: money: "4,9" is not an amount such as "49.00"; write it as money("49.00")`},
		{`x: date(event.received, "Europe/Berln") == ""`, `1:25: unknown time zone "Europe/Berln"; write it as "Europe/Berlin"`},
		{`x: event.received.getHours("Berln") == 1`, `1:28: unknown time zone "Berln"`},
		{`x: regex.extract(event.id, "[") == optional.none()`, "1:28: is no regular expression: missing closing ]: [; regular expressions are those of RE2"},
		{`x: timestamp("foo") < now`, `1:14: `},
		{`x: duration("1 day") < duration("1h")`, `write it as duration("90s")`},
		{`x: data.a == 1 || 1 / 0 == 1`, "1:21: "},
		{`x: data.a.matches("((((a{1,50}){1,50}){1,50}){1,50})")`, "invalid repeat count"},
		{`x: data.a.matches("((a{1,50}){1,20}){1,1}a{1,1000}a{1,1000}")`, "1:19: the regular expression is too large"},
		{`x: event.id.intersect(data.a)`, "1:13: there is no function intersect; did you mean sets.intersects?"},
		{`x: mony(data.a) > 1`, "1:4: there is no function mony; did you mean money?"},
		{`x: regex.extrac(data.a, "b") == 1`, "1:"},
		{`x: frobnicate(data.a)`, "1:4: there is no function frobnicate; there are size, has"},
		{`x: data.a == 1 and data.b == 2`, `does not expect "and" here; write && for and`},
		{`x: data.a == 1 OR data.b == 2`, `write || for or`},
		{`x: not has(data.a)`, "write ! before"},
		{`x: data.a is null`, "compare with =="},
		{`x: data.a contains "x"`, `call it, as in data.name.contains("x")`},
		{`x: "data.l.all(a, data.l.all(b, data.l.all(c, data.l.all(d, data.l.all(e, a + b + c + d + e > 1)))))"`, "goes through lists within lists more than 3 deep; join lists"},
		{`x: "google.protobuf.Struct{} == data"`, "makes a google.protobuf.Struct; write a map"},
		{`x: "[?data.a].size() == 1"`, "1:11: is always there, so that ? has no meaning"},
		{"x: event.type", "1:4: needs a condition, got a string; compare it"},
		{"x: 1 + 1", "1:4: needs a condition, got an int"},
		{"x: data.a = 1", `1:11: "=" is not an operator; compare with ==`},
		{"x: data.a >", "1:12: ends too early"},
		{"x: (data.a > 1", "1:15: lacks ')' here"},
		{`x: data.a == "b`, "1:14: has a character or a quote"},
		{`x: event.type.matches("(")`, "1:23: "},
		{"x: ''", "1:4: is empty"},
		{"x: {a: b}", "needs an expression, got several values"},
		{"x: [a]", "needs an expression, got several values"},
		{"x:", "has no value"},
		{"x: lists.range(9000).all(a, lists.range(9000).all(b, a + b >= 0))", "is too much work for any event"},
		{"x: has(data)", "1:8: has() needs a field"},
	} {
		t.Run(tt.yaml, func(t *testing.T) {
			t.Parallel()
			c, ms := mustLanguage(t).Condition(node(t, tt.yaml))
			if len(ms) == 0 {
				t.Fatalf("compiles: %v", c)
			}
			if got := strings.Replace(ms.Error(), "penstock.yaml:", "", 1); !strings.Contains(strings.Replace(got, " x: ", " ", 1), tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestConditionIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := mustCondition(t, `lists.range(1000).all(a, a >= 0)`)
	if _, err := c.Eval(ctx, NewInput(invoice(), now)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestBodies: what cannot be decoded fails the expressions that look at it,
// and only those.
func TestBodies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ body, expression, want string }{
		{`{"data":`, `has(data.x)`, "the body is not JSON"},
		{`not json`, `body.x == 1`, "the body is not JSON, at byte 2"},
		{`{} {}`, `has(body.x)`, "the body is not JSON, at byte 4"},
		{``, `has(data.x)`, "the body is not JSON"},
		{`not json`, `event.subject == "" || data.x == 1`, "true"},
		{strings.Repeat("[", 1000) + strings.Repeat("]", 1000), `size(body) == 1`, "nested more than 200 deep"},
		{`{"data":null}`, `has(data.x)`, "false"},
		{`{}`, `has(data.x)`, "false"},
		{`[1,2]`, `body[1] == 2 && !has(data.x)`, "true"},
		{`"text"`, `body == "text"`, "true"},
		{`{"data":[1]}`, `data[0] == 1`, "true"},
		{`{"data":{"n":1e400}}`, `data.n > 1.0`, "out of range"},
		{`{"data":{"n":1` + strings.Repeat("0", 500) + `}}`, `data.n > 1.0`, "is too long"},
		{"[" + strings.Repeat("1,", 500_000) + "1]", `body.size() > 1`, "more than 300000 values"},
		{`{"data":{"a":1,"a":2}}`, `data.a == 2`, "true"},
	} {
		t.Run(tt.body[:min(len(tt.body), 20)]+tt.expression, func(t *testing.T) {
			t.Parallel()
			got, err := mustCondition(t, tt.expression).Eval(t.Context(), NewInput(&event.Event{Body: []byte(tt.body)}, now))
			if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && strconv.FormatBool(got) != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestTransform(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ yaml, want string }{
		{"x:\n  id: event.id\n  total: double(data.total_amount)\n  a: {z: data.count, b: \"'text'\"}\n  l: [data.id, \"'<&>'\", 'null']",
			`{"id":"e1","total":149,"a":{"z":49,"b":"text"},"l":[9007199254740993,"<&>",null]}`},
		{`x: "{'z': event.id, 'a': {'y': 1, 'b': [{'q': 1, 'c': 2.5}]}}"`, `{"z":"e1","a":{"y":1,"b":[{"q":1,"c":2.5}]}}`},
		{"x: data.order", `{"contact":{"email_address":"ada@example.com"},"id":7}`},
		{"x: data.items.map(i, i.n)", `[2,1]`},
		{"x: data.items.filter(i, i.n > 1)", `[{"n":2,"sku":"A"}]`},
		{"x: {ratio: data.ratio, big: data.big, none: data.none}", `{"ratio":49,"big":18446744073709551615,"none":null}`},
		{`x: "{'data': data.order, 'r': [data.ratio]}"`, `{"data":{"contact":{"email_address":"ada@example.com"},"id":7},"r":[49]}`},
		{"x: {at: event.received, late: 'now - event.received', day: date(now)}", `{"at":"2026-11-24T11:59:00Z","late":"60s","day":"2026-11-24"}`},
		{"x: {a: 'data.?nothing', b: 'data.?count', c: ['data.?nothing', 'data.?count']}", `{"b":49,"c":[49]}`},
		{"x: data.?nothing", `null`},
		{`x: "{1: 'a', true: 'b'}"`, `{"1":"a","true":"b"}`},
		{"x: bytes('abc')", `"YWJj"`},
		{"x: 1.0 / 0.0", "which has no form in JSON"},
		{"x: {a: data.nothing}", "transform.a: data.nothing: there is no nothing"},
		{"x: type(1)", "has no form in JSON"},
	} {
		t.Run(tt.yaml, func(t *testing.T) {
			t.Parallel()
			tr, ms := mustLanguage(t).Transform(node(t, tt.yaml))
			if len(ms) > 0 {
				t.Fatal(ms)
			}
			got, err := tr.Apply(t.Context(), NewInput(invoice(), now))
			if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && string(got) != tt.want {
				t.Errorf("got  %s %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

func TestTransformMistakes(t *testing.T) {
	t.Parallel()
	_, ms := mustLanguage(t).Transform(node(t, "x:\n  id: evnt.id\n  list: [data.a, dta.b]\n  in: {a: 'b c', n: }\n"))
	want := `penstock.yaml:2:7: x.id: there is no evnt; did you mean event?
penstock.yaml:3:18: x.list[1]: there is no dta; did you mean data?
penstock.yaml:4:14: x.in.a: does not expect "c" here
penstock.yaml:4:18: x.in.n: has no value; write an expression or remove the key`
	if ms.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", ms, want)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ expression, want string }{
		{`money(data.total_amount) >= 100`, ``},
		{`money(data.total_amount) >= 200 && data.currency == "USD"`, `money(data.total_amount) >= 200 [data.total_amount "149.00"]`},
		{`event.type == "x" || data.count > 50 || data.order.id == 8`,
			`event.type == "x" [event.type "orders/invoice.paid"]; data.count > 50 [data.count 49]; data.order.id == 8 [data.order.id 7]`},
		{`data.count == 49 && (data.currency == "EUR" || data.nothing == 1)`, `data.currency == "EUR" [data.currency "USD"]; data.nothing == 1 ! [data.nothing missing]`},
		{`has(data.nothing)`, `has(data.nothing) [data.nothing missing]`},
		{`!has(data.count)`, `!has(data.count) [data.count 49]`},
		{`!(data.count == 49)`, `!(data.count == 49) [data.count 49]`},
		{`data.tags.exists(t, t == "old")`, `data.tags.exists(t, t == "old") [data.tags ["vip","new"]]`},
		{`data.?nothing.orValue(1) == 2`, `data.?nothing.orValue(1) == 2 [data.?nothing missing]`},
		{`headers["content-type"] == "x"`, `headers["content-type"] == "x" [headers["content-type"] "application/json; charset=utf-8"]`},
	} {
		t.Run(tt.expression, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, c := range mustCondition(t, tt.expression).Explain(t.Context(), NewInput(invoice(), now)) {
				text := c.Text
				if c.Err != nil {
					text += " !"
				}
				for _, s := range c.Seen {
					text += " [" + s.Path + " " + s.Value + "]"
				}
				got = append(got, text)
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

// TestFilledExpressionsAreNotShown: what a variable stands for is in no
// mistake, error or explanation.
func TestFilledExpressionsAreNotShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	for _, when := range []string{
		`data.currency == ${S}`, `data.currency == "${S}"`, `money("${S}") > 1`, `data.${S} == 1`, `date(now, "${S}") == ""`,
		`"${S}".matches("(") && data.currency == "${S}"`, `"${S}" > data.count`, `"${S}`,
	} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			var told strings.Builder
			l := mustLanguage(t)
			c, ms := config.Parse("penstock.yaml", []byte("sinks: {a: {kind: log}}\nroutes: [{match: [a], to: [a], "+strings.Replace(quoted(when), "x:", "when:", 1)+"}]\n"), config.Options{
				Env: func(string) (string, bool) { return secret, true }, Roles: []string{config.RoleRouter},
				Expressions: func(r *config.Route) config.Mistakes {
					cond, ms := l.Condition(r.When)
					if cond == nil {
						return ms
					}
					_, err := cond.Eval(t.Context(), NewInput(invoice(), now))
					fmt.Fprint(&told, cond, err, cond.Explain(t.Context(), NewInput(invoice(), now)))
					return ms
				},
			})
			if c == nil || len(c.Routes) != 1 || ms == nil && told.Len() == 0 {
				t.Fatalf("nothing was told: %v", ms)
			}
			if text := ms.Error() + told.String(); strings.Contains(text, secret) {
				t.Errorf("told %s", text)
			}
		})
	}
}

// TestUnsetVariables: an expression with a variable that has no value is no
// mistake, and says so for every event.
func TestUnsetVariables(t *testing.T) {
	t.Parallel()
	l := mustLanguage(t)
	_, ms := config.Parse("penstock.yaml", []byte("sinks: {a: {kind: log}}\nroutes: [{match: [a], to: [a], when: '${S} > 1', transform: {a: '${S}'}}]\n"), config.Options{
		NoEnv: true, Env: func(string) (string, bool) { return "", false },
		Expressions: func(r *config.Route) config.Mistakes {
			c, ms := l.Condition(r.When)
			tr, more := l.Transform(r.Transform)
			if len(ms)+len(more) > 0 {
				t.Errorf("mistakes %v %v", ms, more)
			}
			if _, err := c.Eval(t.Context(), NewInput(invoice(), now)); err == nil || !strings.Contains(err.Error(), "when: ${S} > 1: a variable in it has no value") {
				t.Errorf("condition: %v", err)
			}
			if _, err := tr.Apply(t.Context(), NewInput(invoice(), now)); err == nil || !strings.Contains(err.Error(), "a variable in it has no value") {
				t.Errorf("transform: %v", err)
			}
			return nil
		},
	})
	if len(ms.Fatal()) > 0 && !strings.Contains(ms.Error(), "no sources") {
		t.Error(ms)
	}
}
