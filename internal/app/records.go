package app

import (
	"errors"
	"time"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

// cutOff is the error of an attempt that our own end interrupted.
const cutOff = "cut off: penstock was stopping; made again"

// record keeps a verdict for the event's history. It runs on the goroutine of
// the delivery and waits for nothing.
func (a *App) record(o *router.Observation) {
	r := delivery.Record{
		Seq: o.Event.Seq, EventID: o.Event.ID, Subject: o.Event.Subject, Sink: o.Sink,
		Number: o.History.Attempts + 1, Generation: o.History.Generation, Lane: o.Lane, Origin: o.History.Origin,
		Route: o.Decision.Route, Default: o.Decision.Default, Rules: o.Rules,
		Start: o.Start, Took: o.Took, Timings: o.Timings,
		Action: o.Verdict.Action, Class: o.Verdict.Class, Status: o.Verdict.Status, Error: o.Verdict.Reason,
	}
	switch o.Verdict.Action {
	case delivery.Skip:
		r.Number, r.Start = 0, time.Now()
	case delivery.Again:
		r.Next = o.Start.Add(o.Took + o.Verdict.Delay)
	case delivery.Defer:
		r.Error = cutOff
	}
	if o.Err != nil {
		var e *delivery.Error
		if errors.As(o.Err, &e) {
			r.Response = e.Response
		}
	}
	a.broker.Record(&r)
}
