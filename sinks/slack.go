package sinks

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// slackKeys are the keys of the kind slack. Either webhook_url is set, or
// token and channel.
type slackKeys struct {
	// WebhookURL is the URL of an incoming webhook, which posts to the one
	// channel that it was made for.
	WebhookURL config.Secret `yaml:"webhook_url"`
	// Token is a bot token, xoxb-..., of an app with the scope chat:write. Its
	// messages carry the event's id as metadata, which a webhook's cannot.
	Token config.Secret `yaml:"token"`
	// Channel is where the app of token posts: a channel's id, C0123456789, or
	// the name of a public channel. Two sinks that post to one channel share
	// nothing, so that their rates add up.
	Channel string `yaml:"channel" example:"C0123456789"`
	// APIURL is the Web API that token is for, https://slack.com/api/ by
	// default; set it for GovSlack or a server that is compatible.
	APIURL string `yaml:"api_url"`
	// Text is the message, a template that makes mrkdwn. Without it, every
	// event type has a message of its own. With blocks it is what
	// notifications show.
	Text string `yaml:"text" example:"Invoice {{.Data.number}} is paid"`
	// Blocks are Block Kit blocks, at most 50, whose strings are templates. A
	// block, field or element whose text comes to nothing is left out.
	Blocks config.Node `yaml:"blocks" example:"[{type: section, text: {type: mrkdwn, text: 'Invoice {{.Data.number}} is paid'}}]"`
	// Digest folds events that come in a burst into one message with counts.
	// Without it, each event is a message.
	Digest *slackDigest `yaml:"digest"`
}

// slackDigest is the key digest.
type slackDigest struct {
	// MaxEvents is the most events of one message, 50 by default.
	MaxEvents int `yaml:"max_events" range:"2..1000"`
	// MaxWait is the longest that an event waits for others, 30s by default.
	MaxWait time.Duration `yaml:"max_wait" range:"100ms..1h"`
}

// maxDigestBytes bounds the memory of the bodies that wait for a digest, of
// which little is shown.
const maxDigestBytes = 8 << 20

// defaultSlack are the keys with their defaults; those of digest count when
// digest is there.
func defaultSlack() slackKeys {
	return slackKeys{APIURL: slack.APIURL, Digest: &slackDigest{MaxEvents: 50, MaxWait: 30 * time.Second}}
}

// slackDefaults changes what all kinds have: Slack takes one message a second
// for each channel.
func slackDefaults(c *config.Sink) { c.Rate = config.Rate{PerSecond: 1, Burst: 1} }

// slackOptions are the keys, understood.
type slackOptions struct {
	webhook, api *url.URL // nil while it is a variable without a value
	token        string
	channel      string
	text         *textTemplate // nil: the default messages
	blocks       *slackBlocks  // nil: none
	digest       Batching      // zero: one message an event
}

func (o slackOptions) batching() Batching { return o.digest }

func decodeSlack(c config.Sink) (slackOptions, config.Mistakes) {
	n, keys := c.Options, defaultSlack()
	mistakes := n.Decode(&keys)
	o := slackOptions{channel: keys.Channel, token: keys.Token.Reveal()}
	if !n.Get("digest").IsZero() && keys.Digest != nil {
		o.digest = Batching{MaxEvents: keys.Digest.MaxEvents, MaxBytes: maxDigestBytes, MaxWait: keys.Digest.MaxWait}
	}
	var more config.Mistakes
	if set(n, "webhook_url") {
		o.webhook, more = decodeURL(n, "webhook_url", keys.WebhookURL.Reveal())
		mistakes = append(mistakes, more...)
	}
	if set(n, "token") && keys.Channel != "" || set(n, "api_url") {
		o.api, more = decodeURL(n, "api_url", keys.APIURL)
		mistakes = append(mistakes, more...)
	}
	mistakes = append(mistakes, wayMistakes(n, keys)...)
	if at := n.Get("text"); at.Shape() == config.Scalar && !at.Unresolved() {
		o.text, more = decodeText(at, keys.Text)
		mistakes = append(mistakes, more...)
	}
	if at := n.Get("blocks"); !at.IsZero() && !at.Unresolved() {
		o.blocks, more = decodeBlocks(at)
		mistakes = append(mistakes, more...)
	}
	mistakes.Sort()
	return o, mistakes
}

// set reports that a key is in the file, as itself or as the file of a secret.
func set(n config.Node, key string) bool {
	return !n.Get(key).IsZero() || !n.Get(key+"_file").IsZero()
}

// wayMistakes checks that there is exactly one way to post.
func wayMistakes(n config.Node, keys slackKeys) config.Mistakes {
	at := func(key string) string {
		if n.Get(key).IsZero() && !n.Get(key+"_file").IsZero() {
			return key + "_file"
		}
		return key
	}
	var ms config.Mistakes
	add := func(key, what, hint string) { ms = append(ms, n.Errorf(key, what, hint)) }
	hook, token := set(n, "webhook_url"), set(n, "token")
	switch {
	case hook && token:
		add(at("token"), "webhook_url is also set", "keep one of them: a webhook has its channel, a token needs one")
	case !hook && !token:
		add("", "has neither webhook_url nor token", `add webhook_url: "${SLACK_WEBHOOK_URL}", or token and channel`)
	case hook && !n.Get("channel").IsZero():
		add("channel", "does nothing with webhook_url: a webhook posts to the channel it was made for", "leave it out, or use token")
	case token && strings.TrimSpace(keys.Channel) == "":
		add("channel", "has no channel", "add channel: C0123456789")
	}
	if hook && !token && !n.Get("api_url").IsZero() {
		add("api_url", "does nothing with webhook_url", "leave it out")
	}
	if raw := keys.Token.Reveal(); token && !n.Get(at("token")).Unresolved() && raw != "" &&
		!strings.HasPrefix(raw, "xoxb-") && !strings.HasPrefix(raw, "xoxe.xoxb-") {
		add(at("token"), "is not a bot token", "a bot token begins with xoxb-")
	}
	return ms
}

func decodeText(n config.Node, text string) (*textTemplate, config.Mistakes) {
	if strings.TrimSpace(text) == "" {
		return nil, config.Mistakes{n.Errorf("", "is empty", "write a template, or leave it out for the default messages")}
	}
	return newTemplate(n, "text", text, true)
}

// slackSink posts a message for each event, or one for many.
type slackSink struct {
	slackPoster
	text     *textTemplate
	blocks   *slackBlocks
	defaults *slackMessages
	batching Batching
}

func openSlack(c config.Sink, o slackOptions, d Deps) (Sink, error) {
	defaults, err := newSlackMessages()
	if err != nil {
		return nil, err
	}
	s := &slackSink{text: o.text, blocks: o.blocks, defaults: defaults, batching: o.digest}
	permanent := c.Retry.PermanentStatuses
	switch {
	case o.webhook != nil:
		w := newSlackWire(d, o.webhook, permanent, o.webhook.Path)
		w.judge = judgeWebhook
		s.slackPoster = webhookPoster{w, o.webhook}
	case o.api != nil && o.token != "":
		w := newSlackWire(d, o.api, permanent, o.token)
		w.judge = judgeReply
		s.slackPoster = newAPIPoster(w, o.api, o.token, o.channel)
	default:
		return nil, errors.New("webhook_url, or token, has no value")
	}
	return s, nil
}

// Deliver posts the message of e. Slack does not know a message again: one
// whose answer was lost is posted twice. By the Web API it has the event's id
// in its metadata, so that the two can be told apart from two events.
func (s *slackSink) Deliver(ctx context.Context, e event.Event) error {
	m, err := s.make(e)
	if err != nil {
		return err
	}
	return s.post(ctx, m.slackMessage)
}

// Batching implements BatchSink.
func (s *slackSink) Batching() Batching { return s.batching }

// DeliverBatch posts one message for all events, whose outcome is theirs. An
// event whose message cannot be made fails alone.
func (s *slackSink) DeliverBatch(ctx context.Context, events []event.Event) []error {
	errs := make([]error, len(events))
	var made []madeMessage
	for i, e := range events {
		m, err := s.make(e)
		if errs[i] = err; err == nil {
			made = append(made, m)
		}
	}
	if len(made) == 0 {
		return errs
	}
	m := made[0].slackMessage
	if len(made) > 1 {
		m = s.digest(made)
	}
	posted := s.post(ctx, m)
	for i := range errs {
		if errs[i] == nil {
			errs[i] = posted
		}
	}
	return errs
}

// Preview implements Previewer.
func (s *slackSink) Preview(e event.Event) (Preview, error) {
	m, err := s.make(e)
	if err != nil {
		return Preview{}, err
	}
	return s.preview(m.slackMessage)
}

// make makes the message of e. It fails as ours: the receiver had no part in it.
func (s *slackSink) make(e event.Event) (madeMessage, error) {
	m := madeMessage{event: e, view: newSlackView(e)}
	m.metadata = eventMetadata(e)
	template := s.text
	if template == nil {
		template = s.defaults.of(e).text
	}
	text, err := template.run(m.view)
	if err == nil && s.blocks != nil {
		m.blocks, err = s.blocks.run(m.view)
	}
	if err == nil && text == "" && s.blocks == nil {
		err = fmt.Errorf("%s: comes to nothing for this event", template.key)
	}
	if err != nil {
		return m, delivery.Fail(delivery.Ours, fmt.Errorf("make the message: %w", err))
	}
	m.text = cutText(text, maxSlackText)
	return m, nil
}

// eventMetadata tells programs that read the channel which event it was.
func eventMetadata(e event.Event) slack.SlackMetadata {
	cut := func(s string) string { return cutRunes(strings.ToValidUTF8(s, "\uFFFD"), maxMetadataValue) }
	return slack.SlackMetadata{EventType: "penstock_event", EventPayload: map[string]any{
		"id": cut(e.ID), "type": cut(e.Type), "subject": cut(e.Subject), "source": cut(e.Source),
	}}
}

// digestMetadata names the events of a digest, as far as there is room.
func digestMetadata(made []madeMessage) slack.SlackMetadata {
	const most = 20
	var ids []any
	for _, m := range made[:min(most, len(made))] {
		ids = append(ids, m.metadata.EventPayload["id"])
	}
	return slack.SlackMetadata{EventType: "penstock_digest", EventPayload: map[string]any{"count": len(made), "ids": ids}}
}
