package rules

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/config"
)

// withVariables compiles a condition of a file whose variables are those of env.
func withVariables(t *testing.T, when string, env map[string]string, noEnv bool) (*Condition, config.Mistakes) {
	t.Helper()
	l := mustLanguage(t)
	var c *Condition
	var ms config.Mistakes
	_, _ = config.Parse("penstock.yaml", []byte("sinks: {a: {kind: log}}\nroutes:\n- match: [a]\n  to: [a]\n  "+strings.Replace(quoted(when), "x:", "when:", 1)), config.Options{
		NoEnv: noEnv, Roles: []string{config.RoleRouter},
		Env:         func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Expressions: func(r *config.Route) config.Mistakes { c, ms = l.Condition(r.When); return nil },
	})
	return c, ms
}

// TestMistakesBesideVariables: what is wrong beside a variable is told where it
// stands, and nothing of the variable's value.
func TestMistakesBesideVariables(t *testing.T) {
	t.Parallel()
	env := map[string]string{"CF": "realsecret", "LIMIT": "100", "RE": "[", "QUOTE": `"`}
	for _, tt := range []struct{ when, want string }{
		{`data.a == "${CF}" && foo == 2`, "5:31: routes[0].when: there is no foo"},
		{`data.a == "$$x" && foo == 2`, "5:29: routes[0].when: there is no foo"},
		{`data.a == "${CF}" && (foo == 2`, `lacks ')' here`},
		{`data.a == "${NOPE}" && yyy == 1`, "5:33: routes[0].when: there is no yyy"},
		{`"${NOPE}" == data.a && mony(1) == 1`, "5:33: routes[0].when: there is no function mony; did you mean money?"},
		{`data.a == ${CF}`, `5:20: routes[0].when: is no expression once its variables are filled in; put quotes around strings`},
		{`data.a > "${LIMIT}"`, `5:20: routes[0].when: compares with a number between quotes, letter by letter; leave the quotes out`},
		{`data.a.matches("${RE}")`, `5:26: routes[0].when: has a variable whose value is wrong for every event; regular expressions`},
		{`data.a == "${QUOTE}"`, `5:21: routes[0].when: is no expression once`},
		{`data.a > ${LIMIT} && data.b == "${CF}"`, ""},
		{`data.a > ${NOPE} && data.b == "${NOPE}"`, ""},
		{`data.a.startsWith("${NOPE}") || data.${CF} == 1`, ""},
	} {
		t.Run(tt.when, func(t *testing.T) {
			t.Parallel()
			_, ms := withVariables(t, tt.when, env, true)
			got := ""
			if len(ms) > 0 {
				got = ms.Error()
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" || strings.Contains(got, "realsecret") || strings.Contains(got, standIn) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestExplainBesideVariables: the parts that hold a variable are shown as they
// are written, all others with their values and reasons.
func TestExplainBesideVariables(t *testing.T) {
	t.Parallel()
	env := map[string]string{"CF": "realsecret", "LIMIT": "1000", "COND": "data.count == 49 && data.count == 50"}
	for _, tt := range []struct{ when, want string }{
		{`data.currency == "${CF}" && data.total_amount == "1"`,
			`data.currency == "${CF}" [data.currency "USD"]; data.total_amount == "1" [data.total_amount "149.00"]`},
		{`data.count == 49 && data.nothing == 1 && data.currency != "${CF}"`, `data.nothing == 1 [data.nothing missing] ! there is no nothing`},
		{`data.total_amount > ${LIMIT}`, `data.total_amount > ${LIMIT} [data.total_amount "149.00"]`},
		{`int("${CF}" + data.currency) == 1`, `int("${CF}" + data.currency) == 1 [data.currency "USD"] ! cannot be evaluated for this event`},
		{`cel.bind(x, "${CF}", int(x + data.currency) == 1)`, `cel.bind(x, "${CF}", int(x + data.currency) == 1) ! cannot be evaluated for this event`},
		{`has(data.count) && ${COND}`, `${COND}`},
		{`data.tags.exists(t, t == "${CF}")`, `data.tags.exists(t, t == "${CF}")`},
		{`data["${CF}"] == 1`, `data["${CF}"] == 1 ! cannot be evaluated for this event`},
	} {
		t.Run(tt.when, func(t *testing.T) {
			t.Parallel()
			c, ms := withVariables(t, tt.when, env, false)
			if len(ms) > 0 {
				t.Fatal(ms)
			}
			_, evalErr := c.Eval(t.Context(), NewInput(invoice(), now))
			var got []string
			for _, c := range c.Explain(t.Context(), NewInput(invoice(), now)) {
				text := c.Text
				for _, s := range c.Seen {
					text += " [" + s.Path + " " + s.Value + "]"
				}
				if c.Err != nil {
					text += " ! " + c.Err.Error()
				}
				got = append(got, text)
			}
			s := strings.Join(got, "; ")
			want, reason, _ := strings.Cut(tt.want, " ! ")
			if !strings.HasPrefix(s, want) || !strings.Contains(s, reason) {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
			if evalErr != nil {
				s += evalErr.Error()
				if !strings.Contains(evalErr.Error(), reason) {
					t.Errorf("got %v, want %s", evalErr, reason)
				}
			}
			for _, secret := range env {
				if strings.Contains(s, secret) {
					t.Errorf("%s shows %s", s, secret)
				}
			}
		})
	}
}

// TestDollarsOutsideOfFiles: a text that is no part of a file has no variables.
func TestDollarsOutsideOfFiles(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`"${X}" == "$" + "{X}"`, `"$$".size() == 2`, `"a".matches("^a$") && "$" != ""`} {
		c, ms := mustLanguage(t).Condition(config.TextNode("where", text))
		if len(ms) > 0 {
			t.Fatalf("%s: %v", text, ms)
		}
		if ok, err := c.Eval(t.Context(), NewInput(invoice(), now)); !ok || err != nil {
			t.Errorf("%s: %v, %v", text, ok, err)
		}
	}
}
