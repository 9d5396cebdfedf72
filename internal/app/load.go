package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

// secretVariable is where the quick-start looks for a signing secret.
const secretVariable = "CLICKFUNNELS_WEBHOOK_SECRET"

// secretFile, within the data directory, keeps the quick-start's own secret.
const secretFile = "quickstart-secret"

// LoadOptions say for whom a configuration is loaded. The zero LoadOptions
// load it for all roles with the process's environment.
type LoadOptions struct {
	Env   func(string) (string, bool)
	Roles []string
	NoEnv bool
	// Advice adds warnings about what works but is likely not meant.
	Advice bool
}

// Load reads configuration files with all that Penstock knows: the kinds of
// sinks and sources, and the catalogue. It returns every mistake at once; the
// configuration may be used when none is fatal.
func Load(paths []string, o LoadOptions) (*config.Config, config.Mistakes) {
	c, ms := config.Load(paths, configOptions(o))
	return c, complete(c, ms)
}

// Parse is Load of one file's content.
func Parse(file string, data []byte, o LoadOptions) (*config.Config, config.Mistakes) {
	c, ms := config.Parse(file, data, configOptions(o))
	return c, complete(c, ms)
}

// complete adds what only a look at the whole finds.
func complete(c *config.Config, ms config.Mistakes) config.Mistakes {
	if c == nil || len(ms.Fatal()) > 0 {
		return ms
	}
	ms = append(ms, sinks.CheckTogether(c.Sinks)...)
	if _, err := router.Compile(c); err != nil {
		var more config.Mistakes
		if !errors.As(err, &more) {
			more = config.Mistakes{{Path: "routes", What: err.Error()}}
		}
		ms = append(ms, more...)
	}
	return ms
}

func configOptions(o LoadOptions) config.Options {
	catalog := clickfunnels.NewCatalog()
	return config.Options{
		Env: o.Env, Roles: o.Roles, NoEnv: o.NoEnv, Advice: o.Advice,
		SinkKinds: sinkKinds(), SinkDefaults: sinks.Defaults(), Expressions: router.CheckExpressions(), SourceKinds: []string{sourceKind},
		Canonical: func(entry string) (string, bool, string) {
			subject, known := catalog.Canonical(entry)
			if known {
				return subject, true, ""
			}
			return subject, false, catalog.Suggest(entry)
		},
		Survey: func(pattern string) config.Survey { return survey(catalog, pattern) },
		Facts:  router.Facts(),
		Type:   func(eventType string) config.TypeFacts { return typeFacts(catalog, eventType) },
	}
}

// survey looks a pattern up in the catalogue.
func survey(c *clickfunnels.Catalog, pattern string) config.Survey {
	found := c.Match(pattern)
	s := config.Survey{Types: len(found), OnlyV1: len(found) > 0}
	for _, e := range found {
		s.OnlyV1 = s.OnlyV1 && e.V1Only()
		for _, v := range e.Versions {
			if !slices.Contains(s.Versions, v) {
				s.Versions = append(s.Versions, v)
			}
		}
	}
	if len(found) == 0 {
		s.Nearest = nearestPattern(c, pattern)
	}
	return s
}

// typeFacts looks up an event type as it is sent.
func typeFacts(c *clickfunnels.Catalog, eventType string) config.TypeFacts {
	if e, ok := c.Lookup(eventType); ok {
		return config.TypeFacts{Known: true, Subject: e.Subject, Versions: e.Versions}
	}
	near := eventType // perhaps it is a subject
	if _, ok := c.Resolve(near); !ok {
		near = c.Suggest(eventType)
	}
	e, ok := c.Resolve(near)
	if !ok {
		return config.TypeFacts{}
	}
	return config.TypeFacts{Nearest: e.Type}
}

// nearestPattern is the catalogue's suggestion with the wildcards of the
// pattern put back, when it then matches something.
func nearestPattern(c *clickfunnels.Catalog, pattern string) string {
	if strings.Trim(pattern, "*>.") == "" {
		return ""
	}
	subject := c.Suggest(pattern)
	want, have := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, word := range want {
		switch {
		case i >= len(have):
			return subject
		case word == ">":
			have = append(have[:i], ">")
		case word == "*":
			have[i] = "*"
		}
	}
	if p := strings.Join(have, "."); len(c.Match(p)) > 0 {
		return p
	}
	return subject
}

func sinkKinds() map[string]config.KindCheck {
	kinds := map[string]config.KindCheck{}
	for _, kind := range sinks.Kinds() {
		kinds[kind] = func(n config.Node) config.Mistakes {
			return sinks.Check(config.Sink{Kind: kind, Options: n})
		}
	}
	return kinds
}

// QuickStart returns the built-in configuration, with its data in dataDir. The
// signing secret is the environment's, or one of our own that is made at the
// first start and kept in dataDir, readable by its owner only.
func QuickStart(dataDir string, env func(string) (string, bool)) (c *config.Config, own bool, err error) {
	if env == nil {
		env = os.LookupEnv
	}
	secret, ok := env(secretVariable)
	if !ok || secret == "" {
		own = true
		if secret, err = ownSecret(dataDir); err != nil {
			return nil, false, err
		}
	}
	c, ms := Parse("", []byte(config.QuickStartYAML), LoadOptions{Env: func(name string) (string, bool) {
		if name == secretVariable {
			return secret, true
		}
		return env(name)
	}})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return nil, false, fmt.Errorf("load built-in configuration: %w", fatal)
	}
	c.Broker.DataDir = dataDir
	return c, own, nil
}

// QuickStartSecret returns the secret that a quick-start in dataDir verifies
// with, for a command that signs.
func QuickStartSecret(dataDir string, env func(string) (string, bool)) (string, error) {
	if env == nil {
		env = os.LookupEnv
	}
	if secret, ok := env(secretVariable); ok && secret != "" {
		return secret, nil
	}
	secret, err := readSecret(filepath.Join(dataDir, secretFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("no signing secret: %s is not set, and %s has none; start `penstock serve` there first, or name the file with -c", secretVariable, dataDir)
	}
	return secret, err
}

func ownSecret(dataDir string) (string, error) {
	path := filepath.Join(dataDir, secretFile)
	secret, err := readSecret(path)
	if !errors.Is(err, os.ErrNotExist) {
		return secret, err
	}
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails
	secret = hex.EncodeToString(b[:])
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep signing secret: %w", err)
	}
	return secret, nil
}

func readSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read signing secret: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if secret == "" {
		return "", fmt.Errorf("signing secret file %s is empty; delete it, and the next start makes a new one", path)
	}
	return secret, nil
}
