package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/clickfunnels"
)

const (
	// demoDeadline bounds the wait for all deliveries; a second is usual.
	demoDeadline = 30 * time.Second
	// demoPace is between two events when a person looks on.
	demoPace = 150 * time.Millisecond
)

func newDemo(p process) *cobra.Command {
	var f struct{ keep, plain bool }
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show all of it at work in five seconds, without any set-up",
		Long: `Starts Penstock and two receivers in this process, on free ports of this machine
and in a temporary folder, and sends sample events of ClickFunnels: one of them
twice, one with a wrong signature. One receiver is down at first, and refuses one
event for good. Every step is shown as it happens, and at the end the trace of
one event as a timeline.

At last the counts are compared with what they should be; it exits with 0
only if they agree. Nothing stays on the machine.`,
		Example: `  penstock demo
  # leave it running, to send events of your own
  penstock demo --keep`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.demo(cmd.Context(), f.keep, f.plain) },
	}
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave it running until Ctrl-C")
	cmd.Flags().BoolVar(&f.plain, "plain", false, "neither colours nor symbols")
	return cmd
}

func (p process) demo(ctx context.Context, keep, plain bool) (err error) {
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{p: p, dir: dir, keep: keep, script: newScript(), secret: demoSecret()}
	d.screen = newScreen(p.stdout, d.script, style{paint: paint{!plain && p.paintOn(p.stdout).on}, plain: plain})
	return d.run(ctx)
}

func demoSecret() string { return "demo-" + newID() }

// demo is one performance.
type demo struct {
	p        process
	dir      string
	keep     bool
	script   *script
	secret   string
	screen   *screen
	receiver *receiver
	app      *app.App
	traces   traceLog
}

// run starts the receivers and Penstock, plays, and stops them in the reverse
// order.
func (d *demo) run(ctx context.Context) (err error) {
	started := time.Now()
	if d.receiver, err = startReceiver(d.script, d.screen); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.receiver.stop()) }()
	if err := d.build(ctx); err != nil {
		return err
	}
	appCtx, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	go func() { stopped <- d.app.Run(appCtx) }()
	err = d.perform(ctx, stopped, started)
	stop()
	return errors.Join(err, <-stopped)
}

func (d *demo) build(ctx context.Context) error {
	c, ms := app.Parse("", []byte(demoYAML), app.LoadOptions{Env: d.variables})
	if fatal := ms.Fatal(); len(fatal) > 0 {
		return fmt.Errorf("load the demo's configuration: %w", fatal)
	}
	c.Broker.DataDir = filepath.Join(d.dir, "data")
	var err error
	d.app, err = app.New(c, app.Options{Version: readBuild().Version, Attempted: d.screen.attempted, Spans: d.traces.ended})
	if err != nil {
		return err
	}
	return d.app.Open(ctx)
}

func (d *demo) variables(name string) (string, bool) {
	switch name {
	case "DEMO_SECRET":
		return d.secret, true
	case "DEMO_RECEIVER":
		return d.receiver.url(), true
	}
	return "", false
}

// perform sends the script and compares what came of it.
func (d *demo) perform(ctx context.Context, stopped chan error, started time.Time) error {
	d.screen.opening()
	wait, cancel := context.WithTimeout(ctx, demoDeadline)
	defer cancel()
	if err := d.play(wait); err != nil {
		return err
	}
	select {
	case <-d.screen.complete:
	case <-wait.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
	case err := <-stopped:
		stopped <- nil // run waits for it too
		return errors.Join(errors.New("the demo ended before its events had arrived"), err)
	}
	took := time.Since(started)
	d.screen.trace(d.script.told(), d.traces.of)
	ok := d.screen.table(took)
	if !ok {
		return errors.New("the counts are not what they should be")
	}
	if !d.keep {
		d.screen.closing()
		return nil
	}
	if err := d.invite(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// play posts every event of the script, in order.
func (d *demo) play(ctx context.Context) error {
	good := newPoster(d.target(d.secret))
	catalog := clickfunnels.NewCatalog()
	for _, e := range d.script.events {
		body, err := catalog.Sample(e.eventType, clickfunnels.SampleOptions{Version: e.version, ID: e.id, Now: time.Now()})
		if err != nil {
			return err
		}
		d.script.sent(e.id, body)
		for range e.copies {
			if err := d.postOne(ctx, good, e, body); err != nil {
				return err
			}
		}
		if e.forged {
			if err := d.postOne(ctx, newPoster(d.target("not the secret")), e, body); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *demo) postOne(ctx context.Context, to *poster, e *scriptEvent, body []byte) error {
	start := time.Now()
	a, err := to.send(ctx, body)
	if err != nil {
		return err
	}
	d.screen.answered(e, a, time.Since(start))
	if !d.p.attends(d.p.stdout) {
		return nil
	}
	select {
	case <-time.After(demoPace):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *demo) target(secret string) target {
	url := baseURL(d.app.Addr().String(), false) + d.app.Config().Sources[0].Path
	return target{url: url, shown: url, secret: secret}
}

// invite says how to go on with what keeps running.
func (d *demo) invite() error {
	file := filepath.Join(d.dir, "secret")
	if err := os.WriteFile(file, []byte(d.secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("keep the demo's secret: %w", err)
	}
	var admin string
	if addr := d.app.AdminAddr(); addr != nil {
		admin = baseURL(addr.String(), false)
	}
	d.screen.invitation(d.target("").url, file, admin)
	return nil
}
