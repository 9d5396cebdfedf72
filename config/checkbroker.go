package config

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var userNKey = regexp.MustCompile(`^U[A-Z2-7]{55}$`)

func (l *loader) checkBroker() {
	n, b := l.broker, l.cfg.Broker
	if n.IsZero() {
		return
	}
	l.checkURL()
	l.together(n, "cert_file", "key_file", b.CertFile, b.KeyFile)
	if b.CredsFile != "" && b.NKeyFile != "" {
		l.check(n.Errorf("nkey_file", "creds_file is also set", "keep one of them"))
	}
	if b.DataDir == "" && b.URL == "" {
		l.check(n.Errorf("data_dir", "needs the name of a folder, got nothing", "the default is ./penstock-data"))
	}
	if b.DedupeWindow > b.Retention {
		key := "dedupe_window"
		if n.Get(key).IsZero() {
			key = "retention"
		}
		l.check(n.Errorf(key, "dedupe_window "+showDuration(b.DedupeWindow)+" is above retention "+
			showDuration(b.Retention), "an id cannot be remembered longer than its event"))
	}
	switch {
	case !slices.Contains([]int{1, 3, 5}, b.Replicas):
		l.check(n.Errorf("replicas", "must be 1, 3 or 5, got "+n.Get("replicas").got(), ""))
	case b.Replicas > 1 && b.URL == "":
		l.check(n.Errorf("replicas", "more than 1 needs a cluster", "set url, or replicas: 1"))
	}
	for _, root := range n.Get("extra_roots").list() {
		if root.val.kind == scalar && !root.val.null {
			l.checkRoot(root, root.val.text, "extra root")
		}
	}
	l.checkUsers()
}

// checkURL checks url and what goes only with or only without it. The URL is
// never shown: it may hold a password.
func (l *loader) checkURL() {
	n, b := l.broker, l.cfg.Broker
	if b.URL == "" {
		for _, key := range []string{"creds_file", "nkey_file", "ca_file", "cert_file", "key_file"} {
			if at := n.Get(key); !at.IsZero() && at.val.raw != "" {
				l.check(at.Errorf("", "is only for an external cluster", "set url, or remove it"))
			}
		}
		return
	}
	for one := range strings.SplitSeq(b.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			l.check(n.Errorf("url", "needs NATS URLs, separated by commas", "write nats://host:4222 or tls://host:4222"))
			break
		}
	}
	if b.Listen != "" {
		l.check(n.Errorf("listen", "is only for the embedded server", "remove it, or url"))
	}
	if len(b.Users) > 0 {
		l.check(n.Errorf("users", "are only for the embedded server", "remove them, or url; the cluster has its own users"))
	}
}

func (l *loader) checkUsers() {
	n, b := l.broker, l.cfg.Broker
	items := n.Get("users").list()
	if len(b.Users) > 0 && b.Listen == "" && b.URL == "" {
		l.check(n.warnf("users", "have nowhere to connect to", "set listen"))
	}
	if e, ok := parseEndpoint(b.Listen); ok && len(items) == 0 && !e.loopback() {
		l.check(n.warnf("listen", "whoever reaches this address can read every event", "add users"))
	}
	if len(items) != len(b.Users) {
		return // one could not be read at all
	}
	seen := map[string]bool{}
	for i, u := range b.Users {
		at := items[i]
		if at.val.kind != mapping {
			continue
		}
		switch {
		case u.Name == "" && !at.Get("name").IsZero():
			l.check(at.Errorf("name", "is empty", "give the user a name"))
		case u.Name != "" && seen[u.Name]:
			l.check(at.Errorf("name", "another user has this name", "rename or remove one"))
		}
		seen[u.Name] = true
		l.checkLogin(at, u)
	}
}

func (l *loader) checkLogin(at Node, u User) {
	hasFile := !at.Get("password_file").IsZero() // perhaps unreadable, which is said elsewhere
	switch {
	case u.Password.IsZero() && !hasFile && u.NKey == "":
		l.check(at.Errorf("", "has no password and no nkey", "add password, password_file or nkey"))
	case !u.Password.IsZero() && u.NKey != "":
		l.check(at.Errorf("nkey", "password is also set", "keep one of them"))
	case u.NKey != "" && !userNKey.MatchString(u.NKey):
		// Not shown: a seed, which is secret, may stand here by mistake.
		l.check(at.Errorf("nkey", "needs a public user NKey: U and 55 more letters and digits", "nk -gen user -pubout shows it"))
	}
}
