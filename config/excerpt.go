package config

import (
	"strings"
	"unicode/utf8"
)

// unknownKey is what is said of a key that nobody reads.
const unknownKey = "unknown key"

// secretWords are keys whose values are secrets, to know one even when it is
// misspelt.
var secretWords = []string{
	"secret", "secrets", "token", "password", "url_token", "admin_token", "webhook_url", "authorization", "nkey", "access_key", "secret_key",
}

// excerpts gives the mistakes the lines they are about, without secrets: a line
// that holds one is left out, and what may be one, such as a URL, is starred.
func (l *loader) excerpts(ms Mistakes) {
	if len(ms) == 0 {
		return
	}
	hidden, starred := l.secretLines()
	for i, m := range ms {
		lines, line := l.text[m.Pos.File], Pos{File: m.Pos.File, Line: m.Pos.Line}
		at := m.Pos.Line - 1
		if at < 0 || at >= len(lines) || m.Pos.Column < 1 || hidden[line] {
			continue
		}
		text := lines[at]
		for _, raw := range starred[line] {
			text = strings.ReplaceAll(text, raw, strings.Repeat("*", utf8.RuneCountInString(raw)))
		}
		if m.What == unknownKey { // its value may be anything
			text = untilColon(text, m.Pos.Column)
		}
		ms[i].Excerpt = text
	}
}

// untilColon cuts a line after the key at a column.
func untilColon(line string, column int) string {
	start := 0
	for range column - 1 {
		_, size := utf8.DecodeRuneInString(line[start:])
		start += size
	}
	if i := strings.IndexByte(line[start:], ':'); i >= 0 {
		return line[:start+i+1]
	}
	return line
}

// secretLines are the lines that are not to be shown, and the texts on other
// lines that are to be starred.
func (l *loader) secretLines() (hidden map[Pos]bool, starred map[Pos][]string) {
	hidden, starred = map[Pos]bool{}, map[Pos][]string{}
	for _, s := range l.files.noted() {
		raw, line := s.at.val.raw, Pos{File: s.at.File, Line: s.at.val.line}
		switch lines := l.text[line.File]; {
		case s.inClear():
			hidden[line] = true
		case raw == "" || s.keyed || strings.Contains(raw, "${"):
		case line.Line <= len(lines) && strings.Contains(lines[line.Line-1], raw):
			starred[line] = append(starred[line], raw)
		default: // written with escapes, or over several lines
			hidden[line] = true
		}
	}
	for _, root := range l.roots {
		root.walk(func(n Node) {
			if holdsSecret(n.val.raw) || n.namedSecret() && n.val.raw != "" && !strings.Contains(n.val.raw, "${") {
				hidden[Pos{File: n.File, Line: n.val.line}] = true
			}
		})
	}
	return hidden, starred
}

// namedSecret reports a key that by its name has a secret, also when nobody
// reads it because it is misspelt.
func (n Node) namedSecret() bool {
	key := strings.Trim(secretSpot{at: n}.key(), `"`)
	return !strings.HasSuffix(key, "_file") && (secretName.MatchString(key) || Nearest(key, secretWords) != "")
}
