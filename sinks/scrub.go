package sinks

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

const (
	// Anything shorter is no secret, and replacing it would only blot the text.
	minSecret = 4
	// A path element this long is likely a token, as in a Slack webhook's URL.
	minPathSecret = 16
)

// scrubber replaces secrets in what others wrote: receivers like to repeat
// the request in their error pages. The zero scrubber replaces nothing.
type scrubber struct {
	replacer *strings.Replacer
	longest  int // bytes of the longest secret
}

func newScrubber(secrets []string) scrubber {
	var forms []string
	for _, s := range secrets {
		if len(s) >= minSecret {
			forms = append(forms, spellings(s)...)
		}
	}
	if len(forms) == 0 {
		return scrubber{}
	}
	// The replacer prefers what comes first: a whole secret before a part of it.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range slices.Compact(forms) {
		pairs = append(pairs, f, "***")
	}
	return scrubber{strings.NewReplacer(pairs...), len(forms[0])}
}

// spellings returns s and how it looks inside JSON, a URL and HTML.
func spellings(s string) []string {
	forms := []string{s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s)}
	if quoted, err := json.Marshal(s); err == nil {
		forms = append(forms, string(quoted[1:len(quoted)-1]))
	}
	return forms
}

// clean returns s without secrets.
func (s scrubber) clean(text string) string {
	if s.replacer == nil {
		return text
	}
	return s.replacer.Replace(text)
}

// head returns at most max bytes of text, without secrets. Unless text is
// whole, its end may be the beginning of a secret and is left out.
func (s scrubber) head(text []byte, whole bool, max int) []byte {
	if len(text) == 0 {
		return nil
	}
	clean := []byte(s.clean(string(text)))
	if !whole {
		clean = clean[:len(clean)-min(s.longest, len(clean))]
	}
	return clean[:min(max, len(clean))]
}

// headerSecrets returns what is secret in a header value: all of it, and the
// credentials in it without their scheme.
func headerSecrets(value string) []string {
	secrets := []string{value}
	scheme, credentials, ok := strings.Cut(value, " ")
	if !ok {
		return secrets
	}
	secrets = append(secrets, credentials)
	if strings.EqualFold(scheme, "basic") {
		if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			secrets = append(secrets, string(plain), password)
		}
	}
	return secrets
}

// urlSecrets returns what may be secret in a URL: its query and the elements
// of its path that look like tokens.
func urlSecrets(u *url.URL) []string {
	secrets := []string{u.RawQuery}
	for _, values := range u.Query() {
		secrets = append(secrets, values...)
	}
	for _, path := range []string{u.EscapedPath(), u.Path} {
		for element := range strings.SplitSeq(path, "/") {
			if len(element) >= minPathSecret {
				secrets = append(secrets, element)
			}
		}
	}
	return secrets
}
