package sinks

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/event"
)

const hiddenText = "***"

// Preview implements Previewer. The values of configured headers and of query
// parameters, signatures and tokens are hidden; no token is fetched. A body
// that is sent compressed is shown as it is before.
func (s *httpSink) Preview(e event.Event) (Preview, error) {
	o, err := s.compose(e)
	if err != nil {
		return Preview{}, err
	}
	if s.tokens != nil {
		o.header["Authorization"] = []string{"Bearer"}
	}
	p := Preview{Target: s.request.Method + " " + s.shownURL(o.url), Body: e.Body}
	for _, name := range slices.Sorted(maps.Keys(o.header)) {
		for _, value := range o.header[name] {
			if s.hidden[name] {
				value = hiddenValue(name, value)
			}
			p.Header = append(p.Header, HeaderLine{name, value})
		}
	}
	return p, nil
}

// hiddenValue is *** and, for what says who we are, its scheme.
func hiddenValue(name, value string) string {
	scheme, _, _ := strings.Cut(value, " ")
	if name == "Authorization" && (scheme == "Basic" || scheme == "Bearer") {
		return scheme + " " + hiddenText
	}
	return hiddenText
}

// shownURL is u without its secrets: the values of its query, and the elements
// of the configured path that look like tokens.
func (s *httpSink) shownURL(u *url.URL) string {
	shown := u.Scheme + "://" + u.Host + s.scrub.clean(u.EscapedPath())
	var query []string
	for name, values := range u.Query() {
		if values[0] == "" { // a name alone may be a token
			query = append(query, hiddenText)
			continue
		}
		query = append(query, url.QueryEscape(name)+"="+hiddenText)
	}
	if len(query) == 0 {
		return shown
	}
	slices.Sort(query)
	return shown + "?" + strings.Join(query, "&")
}
