package config

import (
	"strings"
	"unicode/utf8"
)

// unknownKey is what is said of a key that nobody reads.
const unknownKey = "unknown key"

// secretWords are the ends of keys whose values are secrets, to know one even
// when it is misspelt.
var secretWords = []string{"secret", "secrets", "token", "password", "url_token", "admin_token", "webhook_url", "url", "authorization", "nkey", "access_key", "secret_key"}

// excerpts gives the mistakes the lines they are about, where those hold no
// secret.
func (l *loader) excerpts(ms Mistakes) {
	hidden := l.secretLines()
	for i, m := range ms {
		lines := l.text[m.Pos.File]
		at := m.Pos.Line - 1
		if at < 0 || at >= len(lines) || m.Pos.Column < 1 || hidden[Pos{File: m.Pos.File, Line: m.Pos.Line}] {
			continue
		}
		ms[i].Excerpt = lines[at]
		if m.What == unknownKey { // its value may be anything
			ms[i].Excerpt = untilColon(lines[at], m.Pos.Column)
		}
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

// secretLines are the lines where a secret stands, or may stand.
func (l *loader) secretLines() map[Pos]bool {
	hidden := map[Pos]bool{}
	hide := func(n Node) { hidden[Pos{File: n.File, Line: n.val.line}] = true }
	for _, s := range l.files.noted() {
		if s.inClear() || !s.keyed && s.at.val.raw != "" && !strings.Contains(s.at.val.raw, "${") {
			hide(s.at)
		}
	}
	for _, root := range l.roots {
		root.walk(func(n Node) {
			key := n.Path[strings.LastIndexByte(n.Path, '.')+1:]
			key, _, _ = strings.Cut(key, "[")
			key = strings.Trim(key, `"`)
			named := !strings.HasSuffix(key, "_file") && (secretName.MatchString(key) || Nearest(key, secretWords) != "")
			if holdsSecret(n.val.raw) || named && n.val.raw != "" && !strings.Contains(n.val.raw, "${") {
				hide(n)
			}
		})
	}
	return hidden
}
