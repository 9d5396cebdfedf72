package config

import (
	"strings"
	"unicode/utf8"
)

// secretWords are keys whose values are secrets, to know one even when it is
// misspelt.
var secretWords = []string{
	"secret", "secrets", "token", "password", "url_token", "admin_token", "webhook_url", "authorization", "nkey", "access_key", "secret_key",
}

// excerpts gives the mistakes the lines they are about, without secrets: a line
// that holds one is left out, and what may be one, such as a URL or the value of
// an unknown key, is starred.
func (l *loader) excerpts(ms Mistakes) {
	if len(ms) == 0 {
		return
	}
	shown := l.showable()
	for i, m := range ms {
		if m.Pos.Column > 0 {
			ms[i].Excerpt = shown[Pos{File: m.Pos.File, Line: m.Pos.Line}]
		}
	}
}

// showable are the lines that may be shown, as they may be shown.
func (l *loader) showable() map[Pos]string {
	shown := map[Pos]string{}
	for file, lines := range l.text {
		for i, line := range lines {
			shown[Pos{File: file, Line: i + 1}] = line
		}
	}
	for _, s := range l.files.noted() {
		raw, line := s.at.val.raw, Pos{File: s.at.File, Line: s.at.val.line}
		switch {
		case s.inClear():
			delete(shown, line)
		case raw == "" || strings.Contains(raw, "${") || s.keyed:
		default:
			if text, ok := star(shown[line], s.at.val.col, raw); ok {
				shown[line] = text
			} else { // written with escapes, or over several lines
				delete(shown, line)
			}
		}
	}
	for _, root := range l.roots {
		root.walk(func(n Node) {
			if holdsSecret(n.val.raw) || n.namedSecret() && n.val.raw != "" && !strings.Contains(n.val.raw, "${") {
				delete(shown, Pos{File: n.File, Line: n.val.line})
			}
		})
	}
	return shown
}

// star replaces raw, which begins at a column, perhaps after a quote, by stars
// of the same number.
func star(line string, column int, raw string) (string, bool) {
	start := 0
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(line[start:])
		start += size
	}
	for quote := range 2 {
		if at := start + quote; at <= len(line) && strings.HasPrefix(line[at:], raw) {
			return line[:at] + strings.Repeat("*", utf8.RuneCountInString(raw)) + line[at+len(raw):], true
		}
	}
	return "", false
}

// namedSecret reports a key that by its name has a secret, also when nobody
// reads it because it is misspelt.
func (n Node) namedSecret() bool {
	key := strings.Trim(secretSpot{at: n}.key(), `"`)
	return !strings.HasSuffix(key, "_file") && (secretName.MatchString(key) || Nearest(key, secretWords) != "")
}
