package sinks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// urlTemplate makes the URL of an event. It is safe for concurrent use.
type urlTemplate struct {
	template *template.Template
	hosts    []string // allowed; nil when the host is the same for all
	extra    string   // of the query, the same for all
}

// urlView is what a URL's template sees of an event.
type urlView struct {
	ID, Type, Subject, Source string
	APIVersion                int
	Received                  time.Time
	body                      []byte
}

// Data is what the body has under data, or all of a body that has none.
// Numbers stay as they are written.
func (v urlView) Data() (any, error) {
	d := json.NewDecoder(bytes.NewReader(v.body))
	d.UseNumber()
	var all any
	if err := d.Decode(&all); err != nil {
		return nil, errors.New("the body is not JSON")
	}
	if object, ok := all.(map[string]any); ok && object["data"] != nil {
		return object["data"], nil
	}
	return all, nil
}

// standIn takes the place of an inserted value where a URL is checked that has
// none yet. It is a plain word, so that it fits everywhere.
const standIn = "penstock-value"

// escapeFunc is the function that every inserted value goes through.
const escapeFunc = "_escape"

// parseURLTemplate reads a URL with insertions {{...}}, and returns with it the
// URL with words in their place. Every inserted value is escaped.
func parseURLTemplate(raw string) (t *urlTemplate, sample, what, hint string) {
	const example = "write it as https://api.example.com/hooks/{{.Subject}}"
	parsed, err := template.New("url").Option("missingkey=error").Funcs(template.FuncMap{escapeFunc: escapeInserted}).Parse(raw)
	if err != nil {
		return nil, "", "is not a template", example
	}
	var b strings.Builder
	for _, node := range parsed.Root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			b.Write(n.Text)
		case *parse.ActionNode:
			if len(n.Pipe.Decl) > 0 {
				return nil, "", "has more than insertions in its template", example
			}
			b.WriteString(standIn)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
				NodeType: parse.NodeCommand,
				Args:     []parse.Node{parse.NewIdentifier(escapeFunc).SetPos(n.Pos).SetTree(parsed.Tree)},
			})
		default:
			return nil, "", "has more than insertions in its template", example
		}
	}
	if len(parsed.Templates()) > 1 {
		return nil, "", "has more than insertions in its template", example
	}
	return &urlTemplate{template: parsed}, b.String(), "", ""
}

// escapeInserted returns a value as it can stand anywhere in a URL.
func escapeInserted(v any) (string, error) {
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case int:
		text = strconv.Itoa(v)
	case bool:
		text = strconv.FormatBool(v)
	case nil:
		return "", errors.New("a value is missing")
	default:
		return "", errors.New("a value is neither text nor a number")
	}
	if text == "" {
		return "", errors.New("a value is empty")
	}
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), nil
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?$`)

// of returns the URL for e. The error is of the class ours.
func (t *urlTemplate) of(e event.Event) (*url.URL, error) {
	u, err := t.render(e)
	if err != nil {
		return nil, delivery.Fail(delivery.Ours, fmt.Errorf("make the url of the event: %w", err))
	}
	return u, nil
}

func (t *urlTemplate) render(e event.Event) (*url.URL, error) {
	var b strings.Builder
	v := urlView{e.ID, e.Type, e.Subject, e.Source, e.APIVersion, e.Received, e.Body}
	if err := t.template.Execute(&b, v); err != nil {
		return nil, errors.New(oneLine(urlTemplateError(err), 300))
	}
	u, err := url.Parse(b.String())
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	// Some receivers decode a path before they take it apart.
	for element := range strings.FieldsFuncSeq(u.Path, func(r rune) bool { return r == '/' || r == '\\' }) {
		if element == "." || element == ".." {
			return nil, errors.New("a value would make the path another one")
		}
	}
	if t.hosts != nil {
		if err := t.allowed(u); err != nil {
			return nil, err
		}
	}
	addQuery(u, t.extra)
	return u, nil
}

// urlTemplateError is what is wrong, without the position in the template and the
// template itself, which may hold a secret.
func urlTemplateError(err error) string {
	var inner template.ExecError
	if !errors.As(err, &inner) {
		return "its template does not fit the event"
	}
	cause := inner.Err
	for deeper := errors.Unwrap(cause); deeper != nil; deeper = errors.Unwrap(cause) {
		cause = deeper
	}
	text := cause.Error()
	if i := strings.LastIndex(text, ">: "); i >= 0 {
		text = text[i+3:]
	}
	return text
}

// allowed checks the host that an event has chosen.
func (t *urlTemplate) allowed(u *url.URL) error {
	host := strings.ToLower(u.Host)
	if !hostForm.MatchString(host) || u.User != nil {
		return errors.New("it has a host that is not one")
	}
	if !slices.ContainsFunc(t.hosts, func(pattern string) bool { return matchesHost(pattern, host) }) {
		return fmt.Errorf("its host %s is not in allowed_hosts", oneLine(host, 100))
	}
	return nil
}

// matchesHost reports that a host is the one of the pattern, or with *. one of
// any depth below it. A port has to be the pattern's.
func matchesHost(pattern, host string) bool {
	if parent, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, parent) && len(host) > len(parent)
	}
	return pattern == host
}

var allowedForm = regexp.MustCompile(`^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$`)

// decodeURLTemplate reads raw, the value of the key url, which has insertions,
// and returns with the template the URL with words in their place.
func decodeURLTemplate(n config.Node, raw string, hosts []string) (*urlTemplate, *url.URL, config.Mistakes) {
	key := "url"
	if n.Get(key).IsZero() {
		key = "url_file"
	}
	if n.Get(key).Unresolved() {
		return nil, nil, nil
	}
	mistake := func(key, what, hint string) (*urlTemplate, *url.URL, config.Mistakes) {
		return nil, nil, config.Mistakes{n.Errorf(key, what, hint)}
	}
	t, sample, what, hint := parseURLTemplate(raw)
	if what != "" {
		return mistake(key, what, hint)
	}
	u, what, hint := parseURL(sample)
	switch {
	case what != "":
		return mistake(key, what, hint)
	case strings.Contains(u.Scheme+u.Port(), standIn):
		return mistake(key, "has an insertion where only a host, a path or a query may have one", "write the rest out")
	case !strings.Contains(u.Host, standIn) && len(hosts) > 0:
		return mistake("allowed_hosts", "does nothing: the host of url is the same for all events", "leave it out")
	case !strings.Contains(u.Host, standIn):
		return t, u, nil
	case len(hosts) == 0:
		return mistake(key, "lets an event choose the host", `say which it may be: allowed_hosts: [api.example.com, "*.example.com"]`)
	}
	for _, h := range hosts {
		h = strings.ToLower(h)
		if !allowedForm.MatchString(h) {
			return mistake("allowed_hosts", "has an entry that is not a host", `write api.example.com, api.example.com:8443 or "*.example.com"`)
		}
		t.hosts = append(t.hosts, h)
	}
	return t, u, nil
}

// addQuery adds encoded parameters to a URL.
func addQuery(u *url.URL, extra string) {
	switch {
	case extra == "":
	case u.RawQuery == "":
		u.RawQuery = extra
	default:
		u.RawQuery += "&" + extra
	}
}
