package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

type routesTestFlags struct {
	rules                         ruleFiles
	eventType, body, event, since string
	data, source, server          string
	set                           []string
	version                       int
	asJSON                        bool
}

func newRoutesTest(p process) *cobra.Command {
	var f routesTestFlags
	cmd := &cobra.Command{
		Use:   "test [-c FILE...] --type TYPE | --body FILE | --event SEQ|ID",
		Short: "Show what the routes make of one event, without sending it",
		Long: `Asks every route of the file about one event: a sample of an event type, a body from
a file, or an event that is stored, which is asked of a running process. It prints
which routes match; of every other one why it does not: its pattern, or the part of
its condition that is not true with the values it saw; which sinks get the event,
by which route; and what exactly each would send. Nothing is sent.

It exits with 1 when an expression cannot be evaluated for the event.`,
		Example: `  penstock routes test -c penstock.yaml --type orders/invoice.paid
  penstock routes test --type orders/invoice.paid --set 'data.total_amount="49.00"'
  penstock routes test --type contact.created --data @contact.json --no-env
  penstock routes test -c new.yaml --event 4711 --server http://127.0.0.1:8081`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.routesTest(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.rules.files, "config", "c", nil, configFlagHelp)
	flags.BoolVar(&f.rules.noEnv, "no-env", false, "let variables and secret files be missing")
	flags.StringVar(&f.eventType, "type", "", "a sample of this event type or subject")
	flags.StringVar(&f.data, "data", "", "the sample's data: JSON, @file, or - for the standard input")
	flags.StringArrayVar(&f.set, "set", nil, "set one value of the sample, path=value, the value as JSON: 98 is a number, \"98\" a text; may be given more than once")
	flags.IntVar(&f.version, "version", 0, "the sample's API version, 1 or 2 (default the highest in which the type is sent)")
	flags.StringVar(&f.body, "body", "", "a request's whole body: a file, or - for the standard input")
	flags.StringVar(&f.source, "source", "", "the source that a sample or a body comes through (default the first)")
	flags.StringVar(&f.event, "event", "", "a stored event, by its seq or its id")
	flags.StringVar(&f.since, "since", "24h", "search for an id from this time on (RFC 3339, or how long ago)")
	flags.StringVar(&f.server, "server", "", "ask for the stored event at this URL (default "+console.DefaultServer+")")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) routesTest(ctx context.Context, f routesTestFlags) error {
	given := 0
	for _, s := range []string{f.eventType, f.body, f.event} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return usagef("name one event: --type TYPE for a sample, --body FILE, or --event SEQ for a stored one")
	}
	trials, _, err := p.trials(f.rules)
	if err != nil {
		return err
	}
	e, err := p.trialEvent(ctx, f, trials)
	if err != nil {
		return err
	}
	r := newRoutesResult(trials, &e, trials.Try(ctx, &e, time.Now()))
	if f.asJSON {
		err = writeJSON(p.stdout, r)
	} else {
		_, err = io.WriteString(p.stdout, r.text(p.paintOn(p.stdout)))
	}
	if err == nil && r.Failed {
		return errReported
	}
	return err
}

// trialEvent is the event that the flags name.
func (p process) trialEvent(ctx context.Context, f routesTestFlags, t *app.Trials) (event.Event, error) {
	switch {
	case f.event != "":
		return p.storedEvent(ctx, f)
	case f.body != "":
		body, err := p.readBody(f.body)
		if err != nil {
			return event.Event{}, err
		}
		return t.Decode(f.source, body, time.Now())
	}
	set, err := p.assignments(sendFlags{data: f.data, set: f.set})
	if err != nil {
		return event.Event{}, err
	}
	body, err := t.Sample(f.eventType, clickfunnels.SampleOptions{Version: f.version, Now: time.Now(), Set: set})
	if err != nil {
		return event.Event{}, err
	}
	return t.Decode(f.source, body, time.Now())
}

func (p process) readBody(name string) ([]byte, error) {
	body, err := []byte(nil), error(nil)
	if name == "-" {
		body, err = io.ReadAll(p.stdin)
	} else {
		body, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("read --body: %w", err)
	}
	return body, nil
}

// storedEvent asks a running process for an event: the one at --server, or
// else the one that runs the file.
func (p process) storedEvent(ctx context.Context, f routesTestFlags) (event.Event, error) {
	admin := adminFlags{server: f.server}
	if f.server == "" {
		admin.files = f.rules.files
	}
	c, err := p.client(admin)
	if err != nil {
		return event.Event{}, err
	}
	seqs, err := p.eventSeqs(ctx, c, f.event, f.since)
	if err != nil {
		return event.Event{}, err
	}
	if len(seqs) > 1 {
		return event.Event{}, fmt.Errorf("%d events have that id (seq %s); name one by its seq", len(seqs), joinSeqs(seqs))
	}
	s, err := c.EventShow(ctx, seqs[0])
	if err != nil {
		return event.Event{}, err
	}
	body := []byte(s.Body)
	if s.BodyEncoding == console.BodyBase64 {
		if body, err = base64.StdEncoding.DecodeString(s.Body); err != nil {
			return event.Event{}, fmt.Errorf("read the body of event %d: %w", seqs[0], err)
		}
	}
	return event.Event{
		ID: s.ID, Type: s.Type, Source: s.Source, Subject: s.Subject, APIVersion: s.APIVersion,
		Received: s.Received, ContentType: s.ContentType, Seq: s.Seq, Body: body,
	}, nil
}

// routesResult is what routes test prints.
type routesResult struct {
	ID      string       `json:"id"`
	Type    string       `json:"type"`
	Subject string       `json:"subject"`
	Rules   string       `json:"rules"`
	Routes  []trialRoute `json:"routes"`
	Sinks   []trialSink  `json:"sinks"`
	Failed  bool         `json:"failed"`
}

type trialRoute struct {
	Name    string        `json:"name"`
	Matched bool          `json:"matched"`
	Why     string        `json:"why,omitempty"`
	Clauses []trialClause `json:"clauses,omitempty"`
}

type trialClause struct {
	Text  string            `json:"text"`
	Error string            `json:"error,omitempty"`
	Saw   map[string]string `json:"saw,omitempty"`
	seen  []string
}

type trialSink struct {
	Name        string         `json:"name"`
	Route       string         `json:"route,omitempty"`
	Default     bool           `json:"default,omitempty"`
	Transformed bool           `json:"transformed,omitempty"`
	Error       string         `json:"error,omitempty"`
	Request     *routesRequest `json:"request,omitempty"`
	Note        string         `json:"note,omitempty"`
}

type routesRequest struct {
	Target string   `json:"target"`
	Header []string `json:"header,omitempty"`
	Body   string   `json:"body"`
}

func newRoutesResult(t *app.Trials, e *event.Event, trial router.Trial) routesResult {
	r := routesResult{ID: e.ID, Type: e.Type, Subject: e.Subject, Rules: t.Table().Version(), Routes: []trialRoute{}, Sinks: []trialSink{}}
	for _, a := range trial.Routes {
		r.Routes = append(r.Routes, newTrialRoute(a))
		r.Failed = r.Failed || a.Err != nil
	}
	for _, a := range trial.Sinks {
		s := newTrialSink(t, a)
		r.Sinks = append(r.Sinks, s)
		r.Failed = r.Failed || s.Error != ""
	}
	return r
}

func newTrialRoute(a router.RouteAnswer) trialRoute {
	r := trialRoute{Name: a.Name, Matched: a.Matched}
	switch {
	case a.Matched:
	case !a.Subject:
		r.Why = "the subject matches none of " + strings.Join(a.Patterns, ", ")
	case a.Err != nil:
		r.Why = a.Err.Error()
	default:
		r.Why = "its condition is false"
	}
	for _, c := range a.Clauses {
		clause := trialClause{Text: c.Text, Saw: map[string]string{}}
		if c.Err != nil {
			clause.Error = c.Err.Error()
		}
		for _, s := range c.Seen {
			clause.Saw[s.Path] = s.Value
			clause.seen = append(clause.seen, s.Path)
		}
		r.Clauses = append(r.Clauses, clause)
	}
	return r
}

func newTrialSink(t *app.Trials, a router.SinkAnswer) trialSink {
	s := trialSink{Name: a.Sink, Route: a.Route, Default: a.Default, Transformed: a.Transformed}
	if a.Err != nil {
		s.Error = a.Err.Error()
		return s
	}
	p := t.Preview(a)
	if p.Err != nil {
		if s.Note = p.Err.Error(); delivery.ClassOf(p.Err) == delivery.Ours {
			s.Note, s.Error = "", s.Note // what the sink cannot make of the event is a dead letter
		}
		if a.Transformed { // what it would be handed is worth showing all the same
			s.Request = &routesRequest{Body: string(a.Shown)}
		}
		return s
	}
	s.Request = &routesRequest{Target: p.Target, Body: string(p.Body)}
	for _, h := range p.Header {
		s.Request.Header = append(s.Request.Header, h.Name+": "+h.Value)
	}
	return s
}

func (r routesResult) text(paint paint) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s  %s\n\nroutes (rules %s)\n", paint.bold(printable(r.Subject)), printable(r.ID), r.Rules)
	for _, route := range r.Routes {
		route.write(&w, paint)
	}
	fmt.Fprintf(&w, "\nsinks\n")
	if len(r.Sinks) == 0 {
		fmt.Fprintf(&w, "  none: no route matches, and there is no default\n")
	}
	for _, s := range r.Sinks {
		s.write(&w, paint)
	}
	return w.String()
}

func (r trialRoute) write(w io.Writer, paint paint) {
	if r.Matched {
		fmt.Fprintf(w, "  %s %s\n", paint.green("+"), r.Name)
		return
	}
	fmt.Fprintf(w, "  %s %s: %s\n", paint.dim("-"), r.Name, printable(r.Why))
	for _, c := range r.Clauses {
		verdict := "is false"
		if c.Error != "" {
			verdict = "cannot be evaluated: " + printable(c.Error)
		}
		fmt.Fprintf(w, "      %s  %s\n", printable(c.Text), verdict)
		for _, path := range c.seen {
			fmt.Fprintf(w, "        %s = %s\n", printable(path), printable(c.Saw[path]))
		}
	}
}

func (s trialSink) write(w io.Writer, paint paint) {
	by := "route " + s.Route
	if s.Default {
		by = "default"
	}
	if s.Transformed {
		by += ", transformed"
	}
	if s.Error != "" {
		fmt.Fprintf(w, "  %s by %s: %s\n      %s\n", paint.bold(s.Name), by, paint.red("to its dead letters"), printable(s.Error))
		return
	}
	fmt.Fprintf(w, "  %s by %s\n", paint.bold(s.Name), by)
	if s.Note != "" {
		fmt.Fprintf(w, "      %s\n", paint.dim("("+printable(s.Note)+")"))
	}
	if s.Request == nil {
		return
	}
	if s.Request.Target != "" {
		fmt.Fprintf(w, "      %s\n", printable(s.Request.Target))
	}
	for _, h := range s.Request.Header {
		fmt.Fprintf(w, "      %s\n", printable(h))
	}
	for line := range strings.Lines(readable(s.Request.Body)) {
		fmt.Fprintf(w, "      %s\n", printable(strings.TrimSuffix(line, "\n")))
	}
}

// readable indents JSON.
func readable(body string) string {
	var indented strings.Builder
	e := json.NewEncoder(&indented)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if !isJSON([]byte(body)) || e.Encode(json.RawMessage(body)) != nil {
		return body
	}
	return indented.String()
}
