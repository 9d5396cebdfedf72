package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// InClear is what the warning says of a secret that is written in the file.
const InClear = "a secret is written here in clear"

// secretSpot is a place of the file where a secret may stand.
type secretSpot struct {
	at Node
	// keyed: the value of a key that the user chose, such as a header, which
	// is of the type of a secret but may be none.
	keyed bool
	// unread: nobody knows what stands there, so it may be a secret.
	unread bool
}

// note remembers where secrets stand, for advice and for what may be shown.
func (s *secretFiles) note(n Node, keyed bool) {
	if s == nil {
		return
	}
	s.add(secretSpot{at: n, keyed: keyed})
}

// noteUnread remembers what is not to be shown because nobody reads it.
func (s *secretFiles) noteUnread(n Node) {
	if s != nil && n.val != nil {
		n.walk(func(part Node) { s.add(secretSpot{at: part, unread: true}) })
	}
}

func (s *secretFiles) add(spot secretSpot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spots == nil {
		s.spots = map[Pos]secretSpot{}
	}
	s.spots[Pos{spot.at.File, spot.at.val.line, spot.at.val.col}] = spot
}

// tokens are texts that by their form are secrets, wherever they stand.
var tokens = regexp.MustCompile(`xox[abeoprs]-[A-Za-z0-9-]{6,}|xapp-[A-Za-z0-9-]{6,}|whsec_[A-Za-z0-9+/=]{8,}|\b(AKIA|ASIA)[A-Z0-9]{16}\b` +
	`|\b(sk|rk)_(live|test)_[A-Za-z0-9]{8,}|\bgh[opsu]_[A-Za-z0-9]{16,}|\bglpat-[A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}` +
	`|(?i:\b(bearer|basic|splunk))\s+[A-Za-z0-9._~+/-]{6,}=*|\bS[AUONC][A-Z2-7]{56}\b|-----BEGIN [A-Z ]*PRIVATE KEY` +
	`|hooks\.slack\.com/(services|workflows|triggers)/[A-Za-z0-9_/-]{8,}`)

// login is a user and password in a URL.
var login = regexp.MustCompile(`[a-z]://[^/\s:@]*:([^/\s@]+)@`)

// holdsSecret reports that a text of the file, variables not filled in, holds
// what by its form is a secret.
func holdsSecret(raw string) bool {
	if tokens.MatchString(raw) {
		return true
	}
	for _, at := range login.FindAllStringSubmatch(raw, -1) {
		if !strings.Contains(at[1], "$") {
			return true
		}
	}
	return false
}

// secretName are names of headers and keys whose value is a secret.
var secretName = regexp.MustCompile(`(?i)(secret|token|passw|cookie|credential|authori[sz]ation|api-?_?key|signature|private|^sign)`)

// inClear reports that the spot holds a secret as it is, not by a variable.
func (s secretSpot) inClear() bool {
	raw, key := s.at.val.raw, s.key()
	switch {
	case raw == "" || s.at.val.null:
		return false
	case holdsSecret(raw):
		return true
	case strings.Contains(raw, "${"):
		return false
	case s.unread:
		return false
	case s.keyed:
		return secretName.MatchString(key)
	}
	u, err := url.Parse(raw)
	if err == nil && (u.Host != "" || strings.HasSuffix(key, "url")) {
		return secretURL(u)
	}
	return true
}

// key is the key that the spot stands under.
func (s secretSpot) key() string {
	key, _, _ := strings.Cut(s.at.Path[strings.LastIndexByte(s.at.Path, '.')+1:], "[")
	return key
}

// secretURL reports a URL that likely carries a token: a login, a query that
// is named for one, or a part of the path that nobody would choose.
func secretURL(u *url.URL) bool {
	if _, has := u.User.Password(); has {
		return true
	}
	for name := range u.Query() {
		if secretName.MatchString(name) || strings.EqualFold(name, "key") {
			return true
		}
	}
	return slices.ContainsFunc(strings.Split(u.Path, "/"), randomLooking)
}

// randomLooking reports a long word that mixes letters and digits.
func randomLooking(word string) bool {
	return len(word) >= 20 && strings.ContainsFunc(word, unicode.IsDigit) && strings.ContainsFunc(word, unicode.IsLetter) &&
		strings.Count(word, "-") < 4 // or it is an id that people are shown
}

// adviseClear warns of secrets that stand in the file itself.
func (l *loader) adviseClear() {
	said := map[Pos]bool{}
	warn := func(at Node, hint string) {
		pos := Pos{at.File, at.val.line, at.val.col}
		if !said[pos] {
			said[pos] = true
			l.check(at.warnf("", InClear, hint))
		}
	}
	for _, s := range l.files.noted() {
		if !s.inClear() {
			continue
		}
		hint := "write ${NAME} and set that variable"
		if !s.keyed {
			hint += ", or use " + s.key() + "_file"
		}
		warn(s.at, hint)
	}
	for _, root := range l.roots {
		root.walk(func(at Node) {
			if holdsSecret(at.val.raw) {
				warn(at, "write ${NAME} in its place and set that variable")
			}
		})
	}
}

// noted returns the spots, by place.
func (s *secretFiles) noted() []secretSpot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]secretSpot, 0, len(s.spots))
	for _, spot := range s.spots {
		out = append(out, spot)
	}
	slices.SortFunc(out, func(a, b secretSpot) int { return a.at.Pos().compare(b.at.Pos()) })
	return out
}

// walk calls f for every scalar of n.
func (n Node) walk(f func(Node)) {
	switch n.val.kind {
	case scalar:
		f(n)
	case sequence:
		for _, item := range n.list() {
			item.walk(f)
		}
	default:
		for _, key := range n.val.keys {
			n.Get(key).walk(f)
		}
	}
}
