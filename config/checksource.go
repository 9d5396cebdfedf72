package config

import (
	"regexp"
	"slices"
	"strings"
)

var (
	pathForm = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	urlToken = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)
)

// shortToken is the length below which an url_token can be guessed.
const shortToken = 16

func (l *loader) checkSources() {
	paths := map[string]string{}
	bare := ""
	for i, s := range l.cfg.Sources {
		e := l.sources[i]
		if e.val.kind != mapping {
			continue
		}
		l.checkPath(e.Node, s.Path)
		if other, ok := paths[s.Path]; ok {
			l.check(e.Errorf("path", "source "+other+" has the same path", "give each its own path"))
		}
		paths[s.Path] = show(s.Name)
		l.checkSecrets(e.Node, s)
		switch {
		case s.SubjectPrefix != "":
			l.checkPrefix(i)
		case bare != "":
			l.check(e.Errorf("subject_prefix", "source "+bare+" has no subject_prefix either",
				"at most one source may have none: add subject_prefix: "+show(s.Name)))
		default:
			bare = show(s.Name)
		}
	}
}

func (l *loader) checkPath(n Node, path string) {
	at := n.Get("path")
	switch {
	case at.IsZero(): // the default, from the name
	case slices.Contains([]string{"/healthz", "/readyz"}, path):
		l.check(at.Errorf("", path+" is taken by the health checks", "choose another path"))
	case !pathForm.MatchString(path):
		l.check(at.needs("a path", "write /webhooks/name: letters, digits and . _ ~ -, no slash at the end")...)
	}
}

func (l *loader) checkSecrets(n Node, s Source) {
	if at := n.Get("secrets"); at.val != nil {
		for _, item := range at.list() {
			if item.val.kind == scalar && !item.val.null && item.val.text == "" {
				l.check(item.Errorf("", "is empty", "remove it, or give it the secret of the endpoint"))
			}
		}
	}
	given := n.hasNull("secrets") || slices.ContainsFunc([]string{"secrets_file", "url_token_file"}, func(key string) bool {
		return !n.Get(key).IsZero() // perhaps unreadable, which is said elsewhere
	})
	token := s.URLToken.Reveal()
	switch {
	case len(s.Secrets) == 0 && token == "" && !given:
		l.check(n.Errorf("secrets", "no secrets and no url_token: every request would be refused",
			`add secrets: ["${CLICKFUNNELS_WEBHOOK_SECRET}"]`))
	case token != "" && !urlToken.MatchString(token):
		l.check(l.tokenMistake(n, "has characters that do not fit in a URL's path", "use letters, digits and . _ ~ -"))
	case token != "" && len(token) < shortToken:
		m := l.tokenMistake(n, "is short enough to be guessed", "use at least 16 characters")
		m.Warning = true
		l.check(m)
	}
}

func (l *loader) tokenMistake(n Node, what, hint string) Mistake {
	if n.Get("url_token").IsZero() {
		return n.Errorf("url_token_file", what, hint)
	}
	return n.Errorf("url_token", what, hint)
}

// checkPrefix checks the subject prefix of source i, also against those before
// it: one inside another would make one event match as two sources'.
func (l *loader) checkPrefix(i int) {
	s, at := l.cfg.Sources[i], l.sources[i].Get("subject_prefix")
	if !l.checkRoot(at, s.SubjectPrefix, "prefix") {
		return
	}
	for _, other := range l.cfg.Sources[:i] {
		if p := other.SubjectPrefix; p != "" && (within(p, s.SubjectPrefix) || within(s.SubjectPrefix, p)) {
			l.check(at.Errorf("", "overlaps the prefix of source "+show(other.Name), "give each its own first word"))
		}
	}
	for _, root := range l.cfg.Broker.ExtraRoots {
		if within(root, s.SubjectPrefix) || within(s.SubjectPrefix, root) {
			l.check(at.Errorf("", "overlaps broker.extra_roots", "remove that root: a prefix is stored anyway"))
		}
	}
}

// within reports that subject is root or below it.
func within(subject, root string) bool {
	return subject == root || strings.HasPrefix(subject, root+".")
}

// checkRoot checks words that subjects begin with.
func (l *loader) checkRoot(at Node, root, what string) bool {
	first, _, _ := strings.Cut(root, ".")
	switch {
	case slices.ContainsFunc(strings.Split(root, "."), func(t string) bool { return !tokenForm.MatchString(t) }):
		l.check(at.Errorf("", "not a valid "+what+": "+at.got(), "use letters, digits, _ and -, with dots between words"))
	case first == "penstock" || first == "unknown":
		l.check(at.Errorf("", first+" is kept for our own subjects", "choose another word"))
	default:
		return true
	}
	return false
}
