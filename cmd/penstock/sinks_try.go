package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/app"
	"github.com/penstock/penstock/internal/delivery"
)

type tryFlags struct {
	eventType, data string
	asJSON          bool
}

func newSinksTry(p process, admin *adminFlags) *cobra.Command {
	var f tryFlags
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Deliver one sample to a sink for real, and show what was said",
		Long: `Delivers one sample event to a sink, once and for real, and shows the request, the
answer and where the time went. It reads the configuration (-c, or ./penstock.yaml)
and needs no running process: a sink can be tried before it is deployed. Nothing is
stored, retried or recorded. The sample is made up, and its id begins with trial-.

Without --type it is orders/invoice.paid, or the first type that a route gives the
sink. It exits with 1 when the sink does not take it, and says what to do.`,
		Example: `  penstock sinks test crm
  penstock sinks test crm --type contact.created -c penstock.yaml
  penstock sinks test crm --data @event.json --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files := admin.files
			if len(files) == 0 {
				if _, err := os.Stat(defaultFile); err != nil {
					return usagef("no file is named, and there is no %s here; run `penstock sinks test %s -c FILE`", defaultFile, args[0])
				}
				files = []string{defaultFile}
			}
			return p.sinksTry(cmd.Context(), args[0], files, f)
		},
	}
	cmd.Flags().StringVar(&f.eventType, "type", "", "event type or subject (default one that a route gives the sink)")
	cmd.Flags().StringVar(&f.data, "data", "", "the body instead of a sample: JSON, @file, or - for the standard input")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (p process) sinksTry(ctx context.Context, name string, files []string, f tryFlags) error {
	o := app.TrialOptions{Type: f.eventType, Version: readBuild().Version, Stdout: p.stdout}
	if f.asJSON { // a line of the kind log would be in the way
		o.Stdout = p.stderr
	}
	if f.data != "" {
		body, err := p.readData(f.data)
		if err != nil {
			return err
		}
		o.Body = []byte(body)
	}
	c, _, err := p.loadFiles(files, []string{config.RoleRouter})
	if err != nil {
		return err
	}
	t, err := app.Try(ctx, c, name, o)
	if err != nil {
		return err
	}
	if f.asJSON {
		err = writeJSON(p.stdout, newTrialResult(t))
	} else {
		err = p.printTrial(t)
	}
	if err != nil {
		return err
	}
	if t.Err != nil {
		return errReported
	}
	return nil
}

// shownBody is how much of a request's body people are shown.
const shownBody = 2 << 10

func (p process) printTrial(t *app.Trial) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  id %s  to sink %s (%s)\n", printable(t.Event.Type), t.Event.ID, t.Sink, t.Kind)
	if t.Route != "" {
		transformed := ""
		if t.Transformed {
			transformed = ", transformed"
		}
		fmt.Fprintf(&b, "route     %s%s\n", t.Route, transformed)
	} else {
		b.WriteString("route     none brings this type to the sink; it is sent all the same\n")
	}
	if r := t.Request; r != nil {
		fmt.Fprintf(&b, "request   %s\n", printable(r.Target))
		for _, h := range r.Header {
			fmt.Fprintf(&b, "          %s: %s\n", h.Name, printable(h.Value))
		}
		body, more := string(r.Body), ""
		if len(body) > shownBody {
			body, more = body[:shownBody], fmt.Sprintf("... (%d bytes more)", len(r.Body)-shownBody)
		}
		fmt.Fprintf(&b, "          %s%s\n", printable(strings.ToValidUTF8(strings.TrimSpace(body), "?")), more)
	}
	fmt.Fprintf(&b, "time      %s\n", timeline(t))
	r := newTrialResult(t)
	if answer := strings.TrimSpace(fmt.Sprintf("%s %s", statusWord(r.Status), printable(strings.TrimSpace(r.Response)))); answer != "" {
		fmt.Fprintf(&b, "answer    %s\n", answer)
	}
	if t.Err == nil {
		b.WriteString("delivered\n")
	} else {
		fmt.Fprintf(&b, "not delivered (%s): %s\n%s\n", r.Class, printable(r.Error), r.Hint)
	}
	_, err := fmt.Fprint(p.stdout, b.String())
	return err
}

func statusWord(status int) string {
	if status == 0 {
		return ""
	}
	return fmt.Sprint(status)
}

// timeline names the phases that took place, in their order.
func timeline(t *app.Trial) string {
	var parts []string
	for _, phase := range []struct {
		name string
		d    time.Duration
	}{
		{"dns", t.Timings.DNS}, {"connect", t.Timings.Connect}, {"tls", t.Timings.TLS},
		{"first byte", t.Timings.FirstByte}, {"total", t.Took},
	} {
		if phase.d > 0 || phase.name == "total" {
			parts = append(parts, phase.name+" "+phase.d.Round(10*time.Microsecond).String())
		}
	}
	return strings.Join(parts, "  ")
}

// trialResult is a trial as programs read it. Times are in milliseconds.
type trialResult struct {
	OK      bool          `json:"ok"`
	Sink    string        `json:"sink"`
	Kind    string        `json:"kind"`
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Subject string        `json:"subject"`
	Route   string        `json:"route,omitempty"`
	Request *trialRequest `json:"request,omitempty"`
	Status  int           `json:"status,omitempty"`
	// Response is the start of the answer, at most 1 KiB.
	Response string             `json:"response,omitempty"`
	Class    string             `json:"class,omitempty"`
	Error    string             `json:"error,omitempty"`
	Hint     string             `json:"hint,omitempty"`
	Millis   map[string]float64 `json:"ms"`
}

type trialRequest struct {
	Target string      `json:"target"`
	Header [][2]string `json:"header"`
	Body   string      `json:"body"`
}

func newTrialResult(t *app.Trial) trialResult {
	r := trialResult{
		OK: t.Err == nil, Sink: t.Sink, Kind: t.Kind, ID: t.Event.ID, Type: t.Event.Type, Subject: t.Event.Subject,
		Route: t.Route, Status: t.Answer.Status, Response: t.Answer.Text, Millis: map[string]float64{},
	}
	if t.Request != nil {
		r.Request = &trialRequest{Target: t.Request.Target, Header: [][2]string{}, Body: string(t.Request.Body)}
		for _, h := range t.Request.Header {
			r.Request.Header = append(r.Request.Header, [2]string{h.Name, h.Value})
		}
	}
	for name, d := range map[string]time.Duration{
		"dns": t.Timings.DNS, "connect": t.Timings.Connect, "tls": t.Timings.TLS, "first_byte": t.Timings.FirstByte, "total": t.Took,
	} {
		r.Millis[name] = float64(d.Microseconds()) / 1000
	}
	if t.Err != nil {
		class := delivery.ClassOf(t.Err)
		r.Class, r.Error, r.Hint = string(class), t.Err.Error(), trialHint(class)
		var e *delivery.Error
		if errors.As(t.Err, &e) {
			r.Status, r.Response = e.Status, string(e.Response)
		}
	}
	return r
}

// trialHint says what to do about a failure of the class.
func trialHint(class delivery.Class) string {
	switch class {
	case delivery.Ours:
		return "The configuration made nothing of this event: correct the sink's templates and options. Such an event is a dead letter at once."
	case delivery.Rejected:
		return "The receiver does not want this event: try another --type or --data. Such an event is a dead letter at once."
	case delivery.Refused:
		return "The receiver refuses us, whatever the event: check the sink's address, credentials and rights. Events would be retried, and the sink held."
	case delivery.Throttled:
		return "The receiver asks for a pause: try again later, and give the sink a rate. The whole sink would wait."
	case delivery.Network:
		return "The receiver cannot be reached: check the host's name, its certificate and the network. Events would be retried, and the sink held."
	}
	return "The receiver did not take it this time: see whether it runs and answers within the sink's timeout. Events would be retried, and the sink held."
}
