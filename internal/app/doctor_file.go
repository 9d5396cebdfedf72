package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/penstock/penstock/config"
)

// These checks need nothing but the file and this machine.

func checkConfig(_ context.Context, p *patient) []Finding {
	fatal := p.o.Mistakes.Fatal()
	name := strings.Join(p.o.Files, ", ")
	if name == "" {
		name = "the built-in configuration"
	}
	switch warnings := len(p.o.Mistakes) - len(fatal); {
	case len(fatal) > 0:
		return failed("see all with `penstock check -c "+name+"`", "%s: %s, the first: %s", name, howMany(len(fatal), "mistake"), fatal[0].String())
	case warnings > 0:
		return warn("see them with `penstock check -c "+name+"`", "%s: %s", name, howMany(warnings, "warning"))
	}
	return good("%s: %s, %s, %s", name, howMany(len(p.c.Sources), "source"), howMany(len(p.c.Sinks), "sink"), howMany(len(p.c.Routes), "route"))
}

func howMany(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkSecrets names variables and files, and never says what they hold.
func checkSecrets(_ context.Context, p *patient) []Finding {
	if len(p.o.Files) == 0 {
		if value, ok := p.env(secretVariable); ok && value != "" {
			return good("set: %s", secretVariable)
		}
		return good("%s is not set: serve makes a secret of its own, with which `penstock send` signs", secretVariable)
	}
	var set, defaulted, unset, empty []string
	for _, v := range config.Variables(p.o.Files) {
		switch value, ok := p.env(v.Name); {
		case ok && value != "":
			set = append(set, v.Name)
		case v.Default:
			defaulted = append(defaulted, v.Name)
		case ok:
			empty = append(empty, v.Name)
		default:
			unset = append(unset, v.Name)
		}
	}
	var out []Finding
	switch {
	case len(unset) > 0 && p.c != nil && len(p.o.Missing) == 0: // or the file could not have been read
		out = append(out, skipped("not set, and not needed by the roles asked about: %s", strings.Join(unset, ", "))...)
	case len(unset) > 0:
		out = append(out, warn("export them, in the environment of the process that serves", "not set here: %s", strings.Join(unset, ", "))...)
	}
	if len(empty) > 0 {
		out = append(out, warn("give them a value", "set to nothing: %s", strings.Join(empty, ", "))...)
	}
	if files := p.secretFiles(); len(files) > 0 {
		set = append(set, files...)
	}
	if len(set) > 0 {
		out = append(out, good("set: %s", strings.Join(set, ", "))...)
	}
	if len(defaulted) > 0 {
		out = append(out, good("not set, with a default: %s", strings.Join(defaulted, ", "))...)
	}
	if len(out) == 0 {
		out = skipped("the configuration names no variable and no file with secrets")
	}
	return out
}

func (p *patient) env(name string) (string, bool) {
	if p.o.Env == nil {
		return os.LookupEnv(name)
	}
	return p.o.Env(name)
}

// secretFiles are the files with secrets that the configuration names.
func (p *patient) secretFiles() []string {
	if p.c == nil {
		return nil
	}
	var out []string
	for _, file := range p.c.WatchFiles {
		if !slices.Contains(p.c.Files, file) {
			out = append(out, file)
		}
	}
	for _, file := range []string{p.c.Broker.CredsFile, p.c.Broker.NKeyFile, p.c.Broker.KeyFile, p.c.Server.TLS.KeyFile} {
		if file != "" && !slices.Contains(out, file) {
			out = append(out, file)
		}
	}
	return out
}

// checkModes looks at who else may read what is secret.
func checkModes(_ context.Context, p *patient) []Finding {
	var out []Finding
	look := func(path string, bits fs.FileMode, what, do string) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			out = append(out, failed("give the user who serves the right to read it", "%s", err)...)
		case info.Mode().Perm()&bits != 0:
			out = append(out, warn(do+" "+path, "%s %s is of mode %04o: %s", what, path, info.Mode().Perm(), "others on this machine may read it")...)
		}
	}
	for _, file := range p.secretFiles() {
		if f, err := os.Open(file); err != nil {
			out = append(out, failed("make it, or correct its name in the file", "secret file %s: %v", file, err)...)
		} else {
			f.Close()
			look(file, 0o004, "secret file", "chmod o-rwx")
		}
	}
	for _, file := range p.filesInClear() {
		look(file, 0o004, "configuration file with a secret written in it", "chmod o-rwx")
	}
	if p.c.Broker.URL == "" {
		look(p.c.Broker.DataDir, 0o007, "data directory", "chmod o-rwx")
	}
	if len(out) == 0 {
		out = good("no secret and no event can be read by others on this machine")
	}
	return out
}

// filesInClear are the configuration files that a secret is written in.
func (p *patient) filesInClear() []string {
	var out []string
	for _, m := range p.o.Mistakes {
		if m.What == config.InClear && m.Pos.File != "" && !slices.Contains(out, m.Pos.File) {
			out = append(out, m.Pos.File)
		}
	}
	return out
}

// checkPorts looks whether the addresses can be listened on, or are ours.
func checkPorts(ctx context.Context, p *patient) []Finding {
	var out []Finding
	for _, a := range []struct{ key, address, role string }{
		{"server.listen", p.c.Server.Listen, config.RoleIngress}, {"server.admin", p.c.Server.Admin, config.RoleConsole}, {"broker.listen", p.c.Broker.Listen, ""},
	} {
		if a.address == "" || a.role != "" && len(p.o.Roles) > 0 && !slices.Contains(p.o.Roles, a.role) {
			continue
		}
		out = append(out, p.checkPort(ctx, a.key, a.address)...)
	}
	return out
}

func (p *patient) checkPort(ctx context.Context, key, address string) []Finding {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		l.Close()
		if p.status != nil && p.local() && !strings.HasSuffix(address, ":0") {
			return warn("compare the file with the one that the process runs", "%s %s is free, but a process is running: it does not run this file", key, address)
		}
		return good("%s %s is free", key, address)
	case errors.Is(err, syscall.EADDRINUSE) && p.status != nil:
		return good("%s %s is in use, by the running process", key, address)
	case errors.Is(err, syscall.EADDRINUSE):
		return failed("stop what listens there (ss -ltnp shows it), or set "+key+" to another port", "%s %s is in use by another program", key, address)
	case errors.Is(err, syscall.EACCES):
		return failed("set "+key+" to a port above 1023, or grant CAP_NET_BIND_SERVICE", "%s %s: this user may not listen there", key, address)
	}
	return failed("correct "+key, "%s %s cannot be listened on: %v", key, address, err)
}

// local reports that the process that was asked is the one of this machine's file.
func (p *patient) local() bool { return p.c != nil && p.c.Broker.URL == "" && p.status.DataDir != "" }
