package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/router"
)

// pair names one delivery.
type pair struct {
	seq  uint64
	sink string
}

// sight is all that the streams say of one delivery.
type sight struct {
	decision router.Decision // under the rules in force now
	at       broker.Position
	retry    time.Time // when the next attempt is scheduled
	dead     *delivery.DeadLetter
	records  []delivery.Record
}

// stories tells what became of every delivery of the events, by event. Nobody
// keeps that in one place: the queue's position, the scheduled retries and the
// dead letters say where a delivery is; for one that is in none of them the
// records say how it ended. With every, all records are read, else those that
// are needed to tell the outcome. complete reports that they were.
//
// Records are stored in batches, a moment after what they tell of: for that
// moment it waits.
func (h *history) stories(ctx context.Context, events []broker.StoredEvent, every bool) (stories [][]console.Delivery, complete bool, err error) {
	for patience := time.Now().Add(recordPatience); ; {
		stories, complete, err = h.storiesNow(ctx, events, every)
		if err != nil || !awaited(events, stories) || time.Now().After(patience) {
			return stories, complete, err
		}
		select {
		case <-ctx.Done():
			return stories, complete, ctx.Err()
		case <-time.After(recordPatience / 10):
		}
	}
}

// recordPatience is several times what a record takes to be stored.
const recordPatience = time.Second

// awaited reports that the outcome of a delivery is unknown whose record may be
// on its way.
func awaited(events []broker.StoredEvent, stories [][]console.Delivery) bool {
	for i, deliveries := range stories {
		young := time.Since(events[i].Stored) < 10*recordPatience
		if young && slices.ContainsFunc(deliveries, func(d console.Delivery) bool { return d.Outcome == console.OutcomeUnknown }) {
			return true
		}
	}
	return false
}

func (h *history) storiesNow(ctx context.Context, events []broker.StoredEvent, every bool) (stories [][]console.Delivery, complete bool, err error) {
	if len(events) == 0 {
		return nil, true, nil
	}
	sights, err := h.sights(ctx, events)
	if err != nil {
		return nil, false, err
	}
	complete, err = h.readRecords(ctx, events, sights, every)
	if err != nil {
		return nil, false, err
	}
	bySeq := map[uint64][]console.Delivery{}
	for _, p := range sorted(sights) {
		s := sights[p]
		if !s.concerns(p.seq) {
			continue
		}
		bySeq[p.seq] = append(bySeq[p.seq], h.tell(p, s))
	}
	for _, e := range events {
		stories = append(stories, bySeq[e.Seq])
	}
	return stories, complete, nil
}

// sorted returns the deliveries by event and sink.
func sorted(sights map[pair]*sight) []pair {
	return slices.SortedFunc(maps.Keys(sights), func(a, b pair) int {
		switch {
		case a.seq != b.seq && a.seq < b.seq, a.seq == b.seq && a.sink < b.sink:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
}

// sights reads where the deliveries are now.
func (h *history) sights(ctx context.Context, events []broker.StoredEvent) (map[pair]*sight, error) {
	table, err := h.table()
	if err != nil {
		return nil, fmt.Errorf("compile routes: %w", err)
	}
	positions, err := h.app.broker.Positions(ctx)
	if err != nil {
		return nil, err
	}
	ids, oldest := map[uint64]string{}, events[0].Stored
	sights := map[pair]*sight{}
	for i := range events {
		e := &events[i]
		ids[e.Seq] = e.ID
		if e.Stored.Before(oldest) {
			oldest = e.Stored
		}
		decisions := map[string]router.Decision{}
		for _, d := range table.Sinks(&e.Event) {
			decisions[d.Sink] = d
		}
		for sink, at := range positions {
			s := &sight{decision: decisions[sink], at: at}
			sights[pair{e.Seq, sink}] = s
			if e.Seq > at.Handed {
				continue
			}
			if s.retry, _, err = h.app.broker.NextRetry(ctx, sink, e.Seq, e.ID); err != nil {
				return nil, err
			}
		}
	}
	letters, err := h.app.broker.DeadOf(ctx, oldest, ids)
	for i := range letters {
		see(sights, pair{letters[i].Event.Seq, letters[i].Sink}).dead = &letters[i]
	}
	return sights, err
}

// see returns the sight of a delivery, also of one to a sink that is not
// configured any more.
func see(sights map[pair]*sight, p pair) *sight {
	s := sights[p]
	if s == nil {
		s = &sight{}
		sights[p] = s
	}
	return s
}

// readRecords adds the records. It stops early when time is up, or, unless
// every is wanted, when every outcome is known.
func (h *history) readRecords(ctx context.Context, events []broker.StoredEvent, sights map[pair]*sight, every bool) (complete bool, err error) {
	seqs, ids := make([]uint64, 0, len(events)), map[uint64]string{}
	oldest := events[0].Stored
	for _, e := range events {
		seqs, ids[e.Seq] = append(seqs, e.Seq), e.ID
		if e.Stored.Before(oldest) {
			oldest = e.Stored
		}
	}
	open := 0
	for p, s := range sights {
		if s.open(p.seq) {
			open++
		}
	}
	if open == 0 && !every {
		return true, nil
	}
	limited, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	err = h.app.broker.Records(limited, oldest, seqs, func(r delivery.Record) bool {
		if r.Kind != delivery.Attempted || r.EventID != ids[r.Seq] {
			return true
		}
		p := pair{r.Seq, r.Sink}
		s := see(sights, p)
		was := s.open(p.seq)
		s.records = append(s.records, r)
		if is := s.open(p.seq); was && !is {
			open--
		} else if is && !was {
			open++
		}
		return every || open > 0
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return true, err
}

// open reports that only a record to come can say how the delivery ended.
func (s *sight) open(seq uint64) bool {
	if s.dead != nil || !s.retry.IsZero() || seq > s.at.Handed {
		return false
	}
	if len(s.records) == 0 {
		return s.decision.Wanted() && seq >= s.at.Start
	}
	switch s.last().Action {
	case delivery.Done, delivery.Skip:
		return false
	}
	return true
}

// last is the record of the attempt that was made last. Batches that were
// written anew come after younger ones.
func (s *sight) last() delivery.Record {
	return slices.MaxFunc(s.records, func(a, b delivery.Record) int { return a.Start.Compare(b.Start) })
}

// concerns reports that there is something to tell: the sink gets or got the event.
func (s *sight) concerns(seq uint64) bool {
	return s.dead != nil || !s.retry.IsZero() || len(s.records) > 0 || s.decision.Wanted() && seq >= s.at.Start
}

// tell puts into words what is known of a delivery.
func (h *history) tell(p pair, s *sight) console.Delivery {
	d := console.Delivery{
		Sink: p.sink, Route: s.decision.Route, Default: s.decision.Default, Attempts: []console.AttemptInfo{},
	}
	slices.SortStableFunc(s.records, func(a, b delivery.Record) int { return a.Start.Compare(b.Start) })
	for i, r := range s.records {
		if i > 0 && sameAttempt(r, s.records[i-1]) {
			continue
		}
		d.Attempts = append(d.Attempts, wireAttempt(r))
	}
	h.place(&d, p, s)
	return d
}

// sameAttempt: a batch written anew may be there twice for a moment.
func sameAttempt(a, b delivery.Record) bool {
	return a.Start.Equal(b.Start) && a.Number == b.Number && a.Action == b.Action
}

// place says where the delivery is, or how it ended.
func (h *history) place(d *console.Delivery, p pair, s *sight) {
	switch {
	case s.dead != nil:
		d.Outcome, d.DeadLetter, d.Detail = console.OutcomeDead, s.dead.Seq, s.dead.Reason
	case !s.retry.IsZero():
		d.Outcome, d.Until, d.Detail = console.OutcomeRetrying, s.retry.UTC(), "waits for its next attempt"
		if !s.retry.After(time.Now()) {
			d.Detail = "is due for its next attempt"
		}
		h.gate(d)
	case len(s.records) > 0:
		h.placeByRecord(d, s)
	case p.seq > s.at.Handed:
		d.Outcome, d.Detail = console.OutcomeWaiting, "not handed to the sink yet"
		h.gate(d)
	case p.seq > s.at.Settled:
		d.Outcome, d.Detail = console.OutcomeWaiting, "handed to the sink; no attempt has ended yet"
		h.gate(d)
	default:
		d.Outcome, d.Detail = console.OutcomeUnknown, "settled; no record of it is kept any more, or it was dropped"
	}
}

// placeByRecord tells by the last attempt.
func (h *history) placeByRecord(d *console.Delivery, s *sight) {
	switch r := s.last(); r.Action {
	case delivery.Done:
		d.Outcome, d.Until = console.OutcomeDelivered, time.Time{}
	case delivery.Skip:
		d.Outcome, d.Detail = console.OutcomeSkipped, "no route gave it to the sink"
	case delivery.Bury:
		d.Outcome, d.Detail = console.OutcomeDead, "given up: "+r.Error+"; the dead letter was retried or dropped"
	case delivery.Again:
		d.Outcome, d.Until, d.Detail = console.OutcomeRetrying, r.Next, "is due for its next attempt"
		h.gate(d)
	default:
		d.Outcome, d.Detail = console.OutcomeWaiting, "the attempt was cut off by a stop and is made again"
		h.gate(d)
	}
}

// gate adds what keeps the sink from taking more, as far as this process knows.
func (h *history) gate(d *console.Delivery) {
	if h.app.router == nil {
		return
	}
	w := h.app.router.Worker(d.Sink)
	if w == nil {
		d.Detail += "; the sink is not configured"
		return
	}
	st := w.State()
	switch st.State {
	case router.Held, router.Throttled:
		d.Detail += "; the sink is " + string(st.State) + " until " + st.NextProbe.UTC().Format(time.RFC3339)
		if st.NextProbe.After(d.Until) {
			d.Until = st.NextProbe.UTC()
		}
	case router.Probing, router.Paused:
		d.Detail += "; the sink is " + string(st.State)
	}
	if st.Reason != "" {
		d.Detail += "; " + st.Reason
	}
}

func wireAttempt(r delivery.Record) console.AttemptInfo {
	return console.AttemptInfo{
		Number: r.Number, Start: r.Start, TookMS: ms(r.Took), DNSMS: ms(r.Timings.DNS), ConnectMS: ms(r.Timings.Connect),
		TLSMS: ms(r.Timings.TLS), FirstByteMS: ms(r.Timings.FirstByte), Lane: string(r.Lane), Origin: r.Origin,
		Generation: r.Generation, Route: r.Route, Default: r.Default, Rules: r.Rules, Verdict: r.Action.String(),
		Next: r.Next, Class: string(r.Class), Status: r.Status, Error: r.Error, Response: string(r.Response),
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
