package ingress

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// follow has somebody follow the request, if anybody wants to.
func (s *Server) follow(c echo.Context, ep *endpoint, arrived time.Time) (rep reply) {
	if s.options.Tracing == nil {
		return s.receive(s.lifetime, c, ep, arrived)
	}
	r := c.Request()
	ctx := s.options.Tracing.Request(s.lifetime, r)
	rep = reply{status: http.StatusInternalServerError, outcome: OutcomePanic} // unless receive returns
	defer func() { s.options.Tracing.Answered(ctx, ep.Name, ep.Path, r, rep.outcome, rep.status) }()
	rep = s.receive(ctx, c, ep, arrived)
	return rep
}

// receive takes one webhook. A 202 means that the event is stored; with every
// other answer it still belongs to the sender, who sends it again.
func (s *Server) receive(life context.Context, c echo.Context, ep *endpoint, arrived time.Time) reply {
	r := c.Request()
	leave, ok := s.options.Enter()
	if !ok {
		return notNow
	}
	defer leave()
	if no := s.inadmissible(r); no.refused() {
		return no
	}
	reserved, ok := s.gate.enter(r.ContentLength, int64(s.options.Server.MaxBody))
	if !ok {
		return tooBusy
	}
	defer func() { s.gate.leave(reserved) }()

	buf, body, err := s.buffers.read(r.Body, r.ContentLength)
	if err != nil {
		return s.unread(err)
	}
	reserved = s.gate.settle(reserved, body)
	if err := ep.verify(c, body, arrived); err != nil {
		s.options.Rejected(Rejection{Source: ep.Name, Header: r.Header, Body: body, Received: arrived, Err: err})
		s.buffers.put(buf)
		return unauthorized(err, len(body))
	}
	e := ep.Source.Decode(r.Header, body, arrived)

	ctx, cancel := context.WithTimeout(life, s.options.PublishTimeout)
	receipt, err := s.options.Publisher.Publish(ctx, e)
	cancel()
	if err != nil {
		return unstored(err, len(body)) // the buffer is not used again: the publisher may still read it
	}

	stored := reply{status: http.StatusAccepted, outcome: OutcomeAccepted, bytes: len(body)}
	if receipt.Duplicate {
		stored.outcome = OutcomeDuplicate
	}
	buf.answer = appendAccepted(buf.answer[:0], e.ID, e.Subject, receipt)
	writeJSON(c.Response(), stored.status, buf.answer)
	s.logStored(life, ep.Name, e, receipt)
	s.buffers.put(buf)
	return stored
}

// inadmissible refuses by the headers alone, before a byte of the body is read.
func (s *Server) inadmissible(r *http.Request) reply {
	if r.ContentLength > int64(s.options.Server.MaxBody) {
		return s.tooLarge()
	}
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return reply{}
	}
	return compressed
}
