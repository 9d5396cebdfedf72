package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

// draft is a configuration to be written.
type draft struct {
	source string
	sinks  []draftSink
	routes []draftRoute
}

type draftSink struct {
	name, kind string
	url        string // of kind http; empty: a variable
	options    string // lines of the kind's own keys
}

type draftRoute struct {
	pattern string
	to      []string
}

// addSink adds a sink by its URL or its kind.
func (d *draft) addSink(name, target string) error {
	if slices.ContainsFunc(d.sinks, func(s draftSink) bool { return s.name == name }) {
		return errors.New("another sink has this name")
	}
	s, user, err := sinkAt(target)
	if err != nil {
		return err
	}
	s.name = name
	required, err := requiredKeys(s.kind)
	if err != nil {
		return err
	}
	for _, key := range required {
		value := "${" + variableOf(name, key) + "}"
		if key == "url" && s.url != "" {
			value = s.url
		}
		s.options += "    " + key + ": " + strconv.Quote(value) + "\n"
	}
	if user != "" {
		s.options += fmt.Sprintf("    auth: {basic: {username: %s, password: \"${%s}\"}}\n", strconv.Quote(user), variableOf(name, "password"))
	}
	d.sinks = append(d.sinks, s)
	return nil
}

// slackHosts take the messages of Slack's incoming webhooks.
func slackHosts() []string { return []string{"hooks.slack.com", "hooks.slack-gov.com"} }

// sinkAt is a sink for a URL or a kind, without a name. A user in the URL is
// taken out of it.
func sinkAt(target string) (s draftSink, user string, err error) {
	s.kind = target
	if strings.Contains(target, "://") {
		s.kind, s.url = "http", target
		if u, err := url.Parse(target); err == nil && slices.Contains(slackHosts(), u.Hostname()) {
			return draftSink{kind: "slack"}, "", nil
		} else if err == nil && u.User != nil {
			user, u.User = u.User.Username(), nil
			s.url = u.String()
		}
	}
	if !slices.Contains(app.SinkKinds(), s.kind) {
		hint := "known kinds: " + strings.Join(app.SinkKinds(), ", ")
		if near := config.Nearest(s.kind, app.SinkKinds()); near != "" {
			hint = "did you mean " + near + "?"
		}
		return s, "", fmt.Errorf("not a URL with http:// or https:// and not a kind; %s", hint)
	}
	return s, user, nil
}

// kindStarters are keys that a kind cannot do without although none alone is
// required: it has other ways to say the same.
func kindStarters() map[string][]string {
	return map[string][]string{"slack": {"webhook_url"}}
}

// requiredKeys are the keys that a sink of a kind must have, by the schema.
func requiredKeys(kind string) ([]string, error) {
	type object struct {
		Required []string `json:"required"`
		OneOf    []struct {
			Required []string `json:"required"`
		} `json:"oneOf"`
	}
	var schema struct {
		Defs map[string]struct {
			object
			AllOf []object `json:"allOf"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(config.Schema()), &schema); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	def := schema.Defs["sink-"+kind]
	keys := slices.DeleteFunc(slices.Clone(def.Required), func(key string) bool { return key == "kind" })
	for _, part := range def.AllOf {
		if len(part.OneOf) > 0 { // a secret, or its file
			keys = append(keys, part.OneOf[0].Required...)
		}
	}
	for _, key := range kindStarters()[kind] {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

var notInVariable = regexp.MustCompile(`[^A-Z0-9]+`)

// variableOf names the variable of a sink's key: CRM_URL.
func variableOf(sink, key string) string {
	name := notInVariable.ReplaceAllString(strings.ToUpper(sink+"_"+key), "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// rules are the routes, or one for everything when there are none.
func (d draft) rules() []draftRoute {
	if len(d.routes) > 0 {
		return d.routes
	}
	all := draftRoute{pattern: ">"}
	for _, s := range d.sinks {
		all.to = append(all.to, s.name)
	}
	return []draftRoute{all}
}

// rest are the sinks that no route names.
func (d draft) rest() []string {
	var out []string
	for _, s := range d.sinks {
		if !slices.ContainsFunc(d.rules(), func(r draftRoute) bool { return slices.Contains(r.to, s.name) }) {
			out = append(out, s.name)
		}
	}
	return out
}

// finish returns the text of the file. A URL that holds a secret becomes a
// variable. What else is wrong, a warning too, is an error.
func (d *draft) finish(file string) (string, error) {
	if i := slices.Index(app.SourceKinds(), d.source); i < 0 {
		return "", usagef("--source %q is not known; known kinds: %s", d.source, strings.Join(app.SourceKinds(), ", "))
	}
	ms := d.check(file, d.text())
	for i, s := range d.sinks {
		named := func(m config.Mistake) bool { return m.Warning && m.Path == "sinks."+s.name+".url" }
		if s.url != "" && slices.ContainsFunc(ms, named) {
			d.sinks[i].options = strings.Replace(s.options, strconv.Quote(s.url), strconv.Quote("${"+variableOf(s.name, "url")+"}"), 1)
		}
	}
	text := d.text()
	if ms := d.check(file, text); len(ms) > 0 {
		for i := range ms { // there is no file yet to look into
			ms[i].Pos, ms[i].Warning = config.Pos{}, false
		}
		return "", ms
	}
	return text, nil
}

// text writes the draft, with comments.
func (d draft) text() string {
	var b strings.Builder
	b.WriteString(`# The configuration of Penstock. penstock check finds every mistake in it, and
# penstock serve -c runs it. An editor completes it with the schema that penstock
# schema prints, when the first line names that:
#   # yaml-language-server: $schema=penstock.schema.json

# Who sends, and the secret that requests are verified with. ${NAME} is filled in
# from the environment.
sources:
`)
	fmt.Fprintf(&b, "  %s:\n    kind: %s\n    path: /webhooks/%s\n    secrets: [\"${%s}\"]\n", d.source, d.source, d.source, variableOf(d.source, "webhook_secret"))
	b.WriteString("\n# Where events go. Every sink has its own place in the stream, so that a slow one\n" +
		"# delays no other; timeout, rate, retry and hold can be set for each.\nsinks:\n")
	for _, s := range d.sinks {
		fmt.Fprintf(&b, "  %s:\n    kind: %s\n%s", s.name, s.kind, s.options)
	}
	b.WriteString("\n# Which events go where: NATS patterns over subjects, in which * is one word and >\n" +
		"# the rest, or event types. penstock catalog lists them. An event goes once to\n# each sink that the matching routes name.\nroutes:\n")
	taken := map[string]int{}
	for _, r := range d.rules() {
		fmt.Fprintf(&b, "  - name: %s\n    match: [%s]\n    to: [%s]\n", routeName(r.pattern, taken), strconv.Quote(r.pattern), strings.Join(r.to, ", "))
	}
	if rest := d.rest(); len(rest) > 0 {
		fmt.Fprintf(&b, "\n# Who gets the events that no route matched.\ndefault: [%s]\n", strings.Join(rest, ", "))
	}
	return b.String()
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// routeName makes a name of a pattern, another one each time.
func routeName(pattern string, taken map[string]int) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(pattern), "-"), "-")
	if name == "" {
		name = "everything"
	}
	name = strings.Trim(name[:min(len(name), 50)], "-")
	taken[name]++
	if n := taken[name]; n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	return name
}

var variable = regexp.MustCompile(`\$\{([A-Z_][A-Z0-9_]*)\}`)

// variables are those of a text's values, each once, in order.
func variables(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range variable.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(out, m[1]) {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// sinkNameOf suggests a name for where a URL points, or a kind.
func sinkNameOf(target string, taken []draftSink) string {
	name := target
	if u, err := url.Parse(target); err == nil && u.Hostname() != "" {
		name, _, _ = strings.Cut(u.Hostname(), ".")
	}
	name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "sink"
	}
	for n, base := 2, name; slices.ContainsFunc(taken, func(s draftSink) bool { return s.name == name }); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}
