package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/penstock/penstock/internal/delivery"
)

// slackMessage is what is posted. It is mrkdwn, within Slack's limits.
type slackMessage struct {
	text     string
	blocks   []slack.Block
	metadata slack.SlackMetadata // sent by the Web API alone
}

// slackPoster posts messages one way.
type slackPoster interface {
	// post makes one request and returns nil when Slack has the message, else
	// a *delivery.Error without a secret in it.
	post(ctx context.Context, m slackMessage) error
	preview(m slackMessage) (Preview, error)
	fmt.Stringer
	fmt.GoStringer
	io.Closer
}

// slackWire is the HTTP of slack-go: it goes by the guarded transport of all
// sinks, follows no redirect, bounds what is read of an answer, and judges the
// answer, of which slack-go's errors say too little.
type slackWire struct {
	*client
	agent string
	judge func(w *slackWire, resp *http.Response, cancel context.CancelFunc) (body []byte, err error)
	http  *http.Client
}

func newSlackWire(d Deps, u *url.URL, permanent []int, secrets ...string) *slackWire {
	w := &slackWire{client: newClient(d, http.MethodPost, u, permanent, secrets...), agent: "Penstock/" + d.Version}
	w.http = &http.Client{
		Transport:     w,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return w
}

// outcome is what became of one request.
type outcome struct {
	known bool
	err   error
}

type outcomeKey struct{}

// do calls send, which makes one request under the context it is given, and
// returns what became of that.
func (w *slackWire) do(ctx context.Context, send func(ctx context.Context) error) error {
	var out outcome
	err := send(context.WithValue(ctx, outcomeKey{}, &out))
	switch {
	case out.known:
		return out.err
	case err == nil:
		err = errors.New("nothing was sent")
	}
	return delivery.Fail(delivery.Ours, fmt.Errorf("%s: %s", w.label, oneLine(w.scrub.clean(text(err)), 400)))
}

// RoundTrip implements http.RoundTripper.
func (w *slackWire) RoundTrip(req *http.Request) (*http.Response, error) {
	out, _ := req.Context().Value(outcomeKey{}).(*outcome)
	start := time.Now()
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	trace := delivery.TraceOf(ctx)
	if trace != nil && req.URL.Scheme == "https" {
		ctx = traceTLS(ctx, trace)
	}
	r := req.Clone(ctx)
	r.Header.Set("User-Agent", w.agent)
	resp, err := w.transport.RoundTrip(r)
	out.known = true
	if err != nil {
		trace.Spoke(req.Method, req.URL, 0)
		out.err = w.noAnswer(req.Context(), start, w.label, w.scrub, err)
		return nil, err
	}
	trace.Answered(time.Since(start))
	trace.Spoke(req.Method, req.URL, resp.StatusCode)
	defer resp.Body.Close()
	var body []byte
	body, out.err = w.judge(w, resp, cancel)
	var failed *delivery.Error
	if errors.As(out.err, &failed) && failed.Status == 0 { // the answer broke off
		failed.Status = resp.StatusCode
	}
	kept := *resp
	kept.Body = io.NopCloser(bytes.NewReader(body))
	return &kept, nil
}

// refused returns what an answer other than 2xx means: what its body says
// counts for more than its status.
func (w *slackWire) refused(resp *http.Response, cancel context.CancelFunc) error {
	class, note := w.classOf(resp)
	e := w.answered(resp, class, w.label, w.scrub, note, cancel)
	if name := errorName(e.Response); name != "" {
		w.explain(e, resp, name, "")
	}
	return e
}

// explain gives an error the class and the hint of Slack's name for it.
func (w *slackWire) explain(e *delivery.Error, resp *http.Response, name, detail string) {
	answer, listed := slackAnswers()[name]
	if !listed {
		answer = slackAnswer{delivery.Refused, "see Slack's documentation of chat.postMessage"}
	}
	if detail != "" {
		detail = " (" + detail + ")"
	}
	said := oneLine(w.scrub.clean(name+detail), 300)
	e.Class = answer.class
	e.Err = fmt.Errorf("%s: answered %s: %s: %s", w.label, statusText(resp.StatusCode), said, answer.hint)
	e.RetryAfter = 0
	if e.Class == delivery.Throttled || e.Class == delivery.Failed {
		e.RetryAfter = retryAfter(resp.Header, time.Now())
	}
}

func judgeWebhook(w *slackWire, resp *http.Response, cancel context.CancelFunc) ([]byte, error) {
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		accepted(resp, delivery.TraceOf(resp.Request.Context()), w.scrub, cancel)
		return nil, nil
	}
	return nil, w.refused(resp, cancel)
}

// maxReply bounds an answer of the Web API, which repeats the whole message.
const maxReply = 1 << 20

func judgeReply(w *slackWire, resp *http.Response, cancel context.CancelFunc) ([]byte, error) {
	if resp.StatusCode < 200 || resp.StatusCode >= 300 {
		return nil, w.refused(resp, cancel)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	reply, known := readReply(body)
	if known && reply.OK {
		trace := delivery.TraceOf(resp.Request.Context())
		trace.Said(resp.StatusCode, string(w.scrub.head(body, true, maxResponse)))
		return body, nil
	}
	if !known && err != nil {
		return body, w.noAnswer(resp.Request.Context(), time.Now(), w.label, w.scrub, err)
	}
	e := &delivery.Error{
		Class:    delivery.Failed,
		Status:   resp.StatusCode,
		Response: w.scrub.head(body, true, maxResponse),
		Err:      fmt.Errorf("%s: answered %s, but not as Slack's Web API does: check api_url", w.label, statusText(resp.StatusCode)),
	}
	if known {
		detail := strings.Join(reply.Metadata.Messages, "; ")
		if reply.Needed != "" {
			detail = "needs " + reply.Needed
		}
		w.explain(e, resp, reply.Error, detail)
	}
	return body, e
}

// webhookPoster posts to an incoming webhook.
type webhookPoster struct {
	*slackWire
	url *url.URL
}

func (p webhookPoster) payload(m slackMessage) *slack.WebhookMessage {
	w := &slack.WebhookMessage{Text: m.text}
	if len(m.blocks) > 0 {
		w.Blocks = &slack.Blocks{BlockSet: m.blocks}
	}
	return w
}

func (p webhookPoster) post(ctx context.Context, m slackMessage) error {
	return p.do(ctx, func(ctx context.Context) error {
		return slack.PostWebhookCustomHTTPContext(ctx, p.url.String(), p.http, p.payload(m))
	})
}

func (p webhookPoster) preview(m slackMessage) (Preview, error) {
	body, err := json.Marshal(p.payload(m))
	if err != nil {
		return Preview{}, delivery.Fail(delivery.Ours, fmt.Errorf("write the message as JSON: %w", err))
	}
	return Preview{
		Target: "POST " + p.url.Scheme + "://" + p.url.Host + "/***",
		Header: []HeaderLine{{"Content-Type", "application/json"}},
		Body:   []byte(p.scrub.clean(string(body))),
	}, nil
}

// apiPoster posts by the Web API's chat.postMessage.
type apiPoster struct {
	*slackWire
	api     *slack.Client
	url     *url.URL // of the API, without the method
	channel string
}

func newAPIPoster(w *slackWire, api *url.URL, token, channel string) apiPoster {
	base := strings.TrimSuffix(api.String(), "/") + "/"
	return apiPoster{w, slack.New(token, slack.OptionHTTPClient(w.http), slack.OptionAPIURL(base)), api, channel}
}

func (p apiPoster) post(ctx context.Context, m slackMessage) error {
	options := []slack.MsgOption{slack.MsgOptionText(m.text, false), slack.MsgOptionMetadata(m.metadata)}
	if len(m.blocks) > 0 {
		options = append(options, slack.MsgOptionBlocks(m.blocks...))
	}
	return p.do(ctx, func(ctx context.Context) error {
		_, _, err := p.api.PostMessageContext(ctx, p.channel, options...)
		return err
	})
}

// preview shows the arguments as one JSON object; the Web API is sent them as
// a form.
func (p apiPoster) preview(m slackMessage) (Preview, error) {
	body, err := json.Marshal(struct {
		Channel  string              `json:"channel"`
		Text     string              `json:"text"`
		Blocks   []slack.Block       `json:"blocks,omitempty"`
		Metadata slack.SlackMetadata `json:"metadata"`
	}{p.channel, m.text, m.blocks, m.metadata})
	if err != nil {
		return Preview{}, delivery.Fail(delivery.Ours, fmt.Errorf("write the message as JSON: %w", err))
	}
	return Preview{
		Target: "POST " + strings.TrimSuffix(p.scrub.clean(p.url.String()), "/") + "/chat.postMessage",
		Header: []HeaderLine{{"Content-Type", "application/x-www-form-urlencoded"}, {"Token", "***"}},
		Body:   []byte(p.scrub.clean(string(body))),
	}, nil
}
