package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/broker"
)

// banner is what serve says once, when all is open.
type banner struct {
	app       *app.App
	config    *config.Config
	flags     serveFlags
	ownSecret bool
}

// fact is one line of the banner: key for the log, label for people, and a
// value in which "; " is where a line may end.
type fact struct{ key, label, value string }

// render returns the banner for people.
func (b banner) render(c paint) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n  %s %s is ready\n\n", c.bold("penstock"), readBuild().Version)
	row := func(label, value string) {
		const width = 16
		value = strings.ReplaceAll(value, "; ", "\n"+strings.Repeat(" ", width+3))
		fmt.Fprintf(&out, "  %s %s\n", c.dim(fmt.Sprintf("%-*s", width, label)), value)
	}
	for _, url := range b.postTo() {
		row("post webhooks to", c.bold(url))
	}
	for _, f := range b.facts() {
		row(f.label, f.value)
	}
	if try := b.tryCommand(); try != "" {
		row("try", c.cyan(try))
	}
	return out.String() + "\n"
}

func (b banner) facts() []fact {
	store := b.app.Store()
	out := []fact{{"promise", "a 2xx means", promise(store)}, {"store", "events are in", place(store)}}
	if store.Listen != "" {
		out = append(out, fact{"nats", "NATS clients at", "nats://" + store.Listen})
	}
	if admin := b.app.AdminAddr(); admin != nil {
		url := baseURL(admin.String(), false)
		if roles := b.flags.roles; len(roles) == 0 || slices.Contains(roles, config.RoleConsole) {
			out = append(out, fact{"admin", "admin API at", url})
		} else {
			out = append(out, fact{"metrics", "metrics at", url + "/metrics"})
		}
	}
	if b.ownSecret {
		out = append(out, fact{"secret", "verified with", ownSecretHelp(b.config.Broker.DataDir)})
	}
	return out
}

func ownSecretHelp(dir string) string {
	return "a secret of our own, kept in " + filepath.Join(dir, "quickstart-secret") +
		"; for ClickFunnels, set CLICKFUNNELS_WEBHOOK_SECRET to the one it shows under" +
		"; Workspace Settings > Webhooks > your endpoint, and start again" +
		"; what is refused until then is kept: penstock rejected accept --all"
}

// postTo never holds a secret: a token in a path is named, not shown.
func (b banner) postTo() []string {
	addr := b.app.Addr()
	if addr == nil {
		return nil
	}
	base := baseURL(addr.String(), b.config.Server.TLS.CertFile != "")
	var urls []string
	for _, s := range b.config.Sources {
		if len(s.Secrets) > 0 {
			urls = append(urls, base+s.Path)
		}
		if !s.URLToken.IsZero() {
			urls = append(urls, base+s.Path+"/<url_token>")
		}
	}
	return urls
}

// promise says in plain words what a 2xx promises.
func promise(s broker.Info) string {
	words := map[config.Durability]string{
		config.Process:  "stored: survives a crash of penstock, but not a power cut",
		config.Interval: "stored: survives a crash of penstock, but a power cut may take the last 250 ms",
		config.Power:    "stored on disk: survives a crash and a power cut",
	}[s.Durability]
	if !s.Embedded {
		words += " (if the cluster is set up as broker.durability asserts)"
	}
	return words
}

func place(s broker.Info) string {
	if s.Embedded {
		return s.DataDir
	}
	return "NATS at " + s.URL
}

// tryCommand is a command that reaches this very process, "" if it takes no
// webhooks.
func (b banner) tryCommand() string {
	addr := b.app.Addr()
	if addr == nil || len(b.config.Sources) == 0 {
		return ""
	}
	args := []string{"penstock send orders/invoice.paid"}
	for _, file := range b.flags.files {
		args = append(args, "-c "+quoteArg(file))
	}
	if dir := b.flags.overrides.dataDir; dir != "" && b.ownSecret {
		args = append(args, "--data-dir "+quoteArg(dir))
	}
	if b.flags.overrides.listen != "" || strings.HasSuffix(b.config.Server.Listen, ":0") {
		if len(b.config.Sources[0].Secrets) == 0 {
			return "" // its URL holds the token
		}
		args = append(args, "--url "+b.postTo()[0])
	}
	return strings.Join(args, " ")
}

// quoteArg writes a word for a shell.
func quoteArg(s string) string {
	if strings.ContainsAny(s, " \t'\"$&|;<>()*?[]#~`\\!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
