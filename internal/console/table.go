package console

import (
	"net/http"

	"github.com/labstack/echo/v4"
)

// route is one address of the API: how it is served, and what openapi.json says
// of it.
type route struct {
	method, path string
	// summary is one sentence, without its full stop.
	summary string
	// query are the parameters it takes.
	query []param
	// in and out are values of the types of the body and of the answer; in is
	// nil when there is no body.
	in, out any
	// wrong is what an answer 422 has; nil: there is none.
	wrong any
	// optional: the body may be left out.
	optional bool
	// stream is a value of the type of the lines of an answer that is a stream,
	// streams its media type; with out, which of both depends on the query.
	stream  any
	streams string
	// action is what the audit log says of a change; "": it changes nothing, or
	// calls changing itself.
	action string
	// handle answers; or raw, which writes its answer itself.
	handle handler
	raw    echo.HandlerFunc
}

// param is a parameter of a query.
type param struct {
	name, about string
	// kind is the JSON type; "": string.
	kind string
	// words, when not nil, are all values it may have.
	words []string
	// many: it may be given more than once.
	many bool
}

var (
	cursorParam = param{name: "cursor", about: "next of the page before"}
	limitParam  = param{name: "limit", about: "the most items of the page, 1 to 500; without it 50", kind: "integer"}
	sinceParam  = param{name: "since", about: "only those since a time (RFC 3339) or for so long (24h)"}
)

func words[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, w := range in {
		out[i] = string(w)
	}
	return out
}

// routes are the addresses below /api/v1 that this server has.
func (s *Server) routes() []route {
	all := []route{
		{method: http.MethodGet, path: "/status", summary: "What this process is and what its streams hold", out: Status{}, handle: s.status},
		{method: http.MethodGet, path: "/sinks", summary: "How every sink stands, and what is left of removed ones",
			query: []param{cursorParam, limitParam}, out: SinkList{}, handle: s.sinks},
	}
	all = append(all, s.deadRoutes()...)
	if s.o.Events != nil {
		all = append(all, s.eventRoutes()...)
	}
	if s.o.Rejected != nil {
		all = append(all, s.rejectedRoutes()...)
	}
	if s.o.Control != nil {
		all = append(all, s.sinkRoutes()...)
	}
	if s.o.Replays != nil {
		all = append(all, s.replayRoutes()...)
	}
	all = append(all, route{method: http.MethodGet, path: "/openapi.json", summary: "This document", out: map[string]any{}, raw: describe})
	if s.o.Tails != nil {
		all = append(all, route{method: http.MethodGet, path: "/tail", summary: "What happens to events, live, as server-sent events; Last-Event-ID goes on after a line", query: []param{
			{name: "match", about: "a pattern over subjects; one of them has to match", many: true},
			{name: "where", about: "a condition in the language of routes (CEL)"},
			{name: "only", about: "only what is accepted, or only deliveries", words: []string{TailAccepts, TailDeliveries}},
			{name: "since", about: "begin in the past, at a time (RFC 3339) or so long ago (10m)"},
		}, stream: TailLine{}, streams: sseType, raw: s.tail})
	}
	if s.o.Backup != nil {
		all = append(all, route{method: http.MethodGet, path: "/backup", summary: "A backup of the store inside", query: []param{
			{name: "rejected", about: "false leaves out refused requests", words: []string{"true", "false"}},
		}, stream: "", streams: bytesType, raw: s.backup})
	}
	if s.o.Intake != nil {
		all = append(all, s.intakeRoutes()...)
	}
	if s.o.Reload != nil {
		all = append(all, s.reloadRoutes()...)
	}
	if s.o.Rules != nil {
		all = append(all, route{method: http.MethodPost, path: "/rules/diff", summary: "What other rules would have made of stored events, as lines of JSON; nothing is sent and nothing changes",
			in: DiffRequest{}, stream: DiffLine{}, streams: linesType, raw: s.diffRules})
	}
	if s.o.Changes != nil {
		all = append(all, route{method: http.MethodGet, path: "/audit", summary: "Who changed what through this API, newest first", query: []param{
			sinceParam, {name: "by", about: "the name of a token"}, {name: "action", about: "what was done, as in \"drop dead letter\""}, cursorParam, limitParam,
		}, out: ChangePage{}, handle: s.listChanges})
	}
	return all
}

func (s *Server) eventRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/events", summary: "Events, newest first; with id or subject_id a search, answered by lines of JSON", query: []param{
			{name: "pattern", about: "a subject, with * for one token and > for the rest"}, sinceParam,
			{name: "until", about: "only those before a time (RFC 3339) or so long ago (1h)"},
			{name: "sink", about: "only those that this sink gets"}, {name: "outcome", about: "only those of this outcome", words: Outcomes()},
			{name: "id", about: "search for the event with this id"}, {name: "subject_id", about: "search for events about this subject_id"},
			cursorParam, limitParam,
		}, out: EventPage{}, stream: SearchLine{}, streams: linesType, raw: s.events},
		{method: http.MethodGet, path: "/events/:seq", summary: "One event's story, with its body", out: EventStory{}, handle: s.showEvent},
		{method: http.MethodPost, path: "/events/:seq/erase", summary: "Erase an event from every stream", out: ErasedEvent{}, action: "erase event", handle: s.eraseEvent},
	}
}

func (s *Server) deadRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/dead", summary: "Dead letters, oldest first, without bodies", query: []param{
			{name: "sink", about: "only those of this sink"}, {name: "class", about: "only those of this class", words: words(classes)}, sinceParam, cursorParam, limitParam,
		}, out: DeadPage{}, handle: s.listDead},
		{method: http.MethodGet, path: "/dead/:seq", summary: "One dead letter, with its body", out: DeadLetter{}, handle: s.showDead},
		{method: http.MethodPost, path: "/dead/:seq/retry", summary: "Hand a dead letter to its sink once more", out: DeadLetter{}, action: "retry dead letter", handle: s.retryDead},
		{method: http.MethodPost, path: "/dead/:seq/drop", summary: "Delete a dead letter", out: DeadLetter{}, action: "drop dead letter", handle: s.dropDead},
		{method: http.MethodPost, path: "/dead/retry", summary: "Retry many dead letters, a bounded part at a time", in: BulkRequest{}, out: BulkResult{}, action: "retry dead letters", handle: s.retryMany},
		{method: http.MethodPost, path: "/dead/drop", summary: "Delete many dead letters, a bounded part at a time", in: BulkRequest{}, out: BulkResult{}, action: "drop dead letters", handle: s.dropMany},
	}
}

func (s *Server) rejectedRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/rejected", summary: "Requests that failed verification, oldest first, without bodies", query: []param{
			{name: "source", about: "only those of this source"}, sinceParam, cursorParam, limitParam,
		}, out: RejectedPage{}, handle: s.listRejected},
		{method: http.MethodGet, path: "/rejected/:seq", summary: "One rejected request, with its headers and body", out: Rejected{}, handle: s.showRejected},
		{method: http.MethodPost, path: "/rejected/:seq/accept", summary: "Verify a rejected request again and take it in", in: AcceptRequest{}, optional: true, out: Acceptance{}, action: "accept rejected request", handle: s.acceptRejected},
	}
}

func (s *Server) sinkRoutes() []route {
	return []route{
		{method: http.MethodPost, path: "/sinks/:name/pause", summary: "Stop deliveries to a sink", in: PauseRequest{}, optional: true, out: PauseResult{}, action: "pause sink", handle: s.pauseSink},
		{method: http.MethodPost, path: "/sinks/:name/resume", summary: "End a sink's pause", out: PauseResult{}, action: "resume sink", handle: s.resumeSink},
		{method: http.MethodPost, path: "/sinks/:name/prune", summary: "Delete what is left of a removed sink", out: RemovedSink{}, action: "prune sink", handle: s.pruneSink},
	}
}

func (s *Server) replayRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/replays", summary: "Replays, the one saved last at the end", query: []param{cursorParam, limitParam}, out: ReplayList{}, handle: s.listReplays},
		{method: http.MethodPost, path: "/replays", summary: "Hand events to sinks once more; a dry run only counts", in: ReplayRequest{}, out: ReplayAnswer{}, handle: s.createReplay},
		{method: http.MethodGet, path: "/replays/:id", summary: "How a replay stands", out: Replay{}, handle: s.oneReplay(Replays.Job)},
		{method: http.MethodPost, path: "/replays/:id/resume", summary: "Go on with a replay", out: Replay{}, action: "resume replay", handle: s.oneReplay(Replays.Resume)},
		{method: http.MethodPost, path: "/replays/:id/pause", summary: "Stop a replay so that it can be resumed", out: Replay{}, action: "pause replay", handle: s.oneReplay(Replays.Pause)},
		{method: http.MethodPost, path: "/replays/:id/abort", summary: "Stop a replay for good", out: Replay{}, action: "abort replay", handle: s.oneReplay(Replays.Abort)},
	}
}
