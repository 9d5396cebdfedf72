package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
)

const defaultURL = "http://127.0.0.1:8080/webhooks/clickfunnels"

// target is where send posts and with what it signs.
type target struct {
	url string
	// shown is url for people: a token in it is not shown.
	shown string
	// secret signs; empty when a token in url stands for the signature.
	secret string
}

// targetFlags say where events go. They are those of send.
type targetFlags struct {
	files                    []string
	url, secretFile, dataDir string
	// anySecret: whatever we sign with is as good, for a signature that is to
	// be refused.
	anySecret bool
}

func (p process) target(f targetFlags) (target, error) {
	t := target{url: defaultURL}
	var err error
	switch {
	case len(f.files) > 0:
		t, err = p.targetOfFiles(f.files)
	case f.secretFile == "" && !f.anySecret:
		t.secret, err = app.QuickStartSecret(f.dataDir, p.env)
	}
	if err != nil {
		return target{}, err
	}
	if f.secretFile != "" {
		if t.secret, err = readSecretFile(f.secretFile); err != nil {
			return target{}, err
		}
	}
	if f.url != "" {
		t.url, t.shown = f.url, ""
	}
	u, err := url.Parse(t.url)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return target{}, usagef("--url is not a URL; write it as %s", defaultURL)
	}
	if t.shown == "" {
		t.shown = u.Redacted()
	}
	return t, nil
}

// targetOfFiles is the first source that the files describe, on this machine.
func (p process) targetOfFiles(files []string) (target, error) {
	c, _, err := p.loadFiles(files, []string{config.RoleIngress})
	if err != nil {
		return target{}, err
	}
	for _, s := range c.Sources {
		if s.Kind != "clickfunnels" {
			continue
		}
		at := baseURL(c.Server.Listen, c.Server.TLS.CertFile != "") + s.Path
		if len(s.Secrets) > 0 {
			return target{url: at, shown: at, secret: s.Secrets[0].Reveal()}, nil
		}
		return target{url: at + "/" + s.URLToken.Reveal(), shown: at + "/<url_token>"}, nil
	}
	return target{}, errors.New("the configuration has no source of kind clickfunnels to send to")
}

func readSecretFile(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read --secret-file: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", fmt.Errorf("read --secret-file: %s is empty", path)
	}
	return secret, nil
}
