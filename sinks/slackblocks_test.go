package sinks

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// manyBlocks are so many blocks, of which Slack takes 50.
func manyBlocks(n int) string { return "blocks:\n" + strings.Repeat("  - type: divider\n", n) }

// fitting has every type of block that the kind has rules for.
const fitting = `blocks:
  - {type: header, text: {type: plain_text, text: "Paid: {{ .Data.invoice_number | default .ID }}", emoji: true}}
  - type: section
    block_id: who
    text: {type: mrkdwn, text: "*{{ money .Data.total_amount .Data.currency }}* by {{ person .Data.order.contact }}"}
    fields:
      - {type: mrkdwn, text: "*Type*\n{{ .Type }}"}
      - {type: mrkdwn, text: "{{ .Data.note | default \"\" }}"}
    accessory: {type: button, text: {type: plain_text, text: Open}, url: "https://example.com/orders?id={{ .Data.id }}&x=1"}
  - {type: divider}
  - {type: image, image_url: "https://example.com/a.png", alt_text: "{{ .Data.note | default \"\" }}"}
  - {type: context, elements: [{type: mrkdwn, text: "from {{ .Source }}"}, {type: plain_text, text: "{{ .Data.note | default \"\" }}"}]}
  - {type: actions, elements: [{type: button, text: {type: plain_text, text: "Go and see"}, url: "https://example.com"}]}
  - {type: markdown, text: "**{{ .Data.invoice_number | default .ID }}**"}
  - {type: rich_text, elements: [{type: rich_text_section, elements: [{type: text, text: "{{ .Data.order.contact.first_name }} <3", style: {bold: true}}]}]}
`

func TestSlackBlocks(t *testing.T) {
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		e := paidEvent()
		if err := openSink(t, "slack", server.options(way, fitting), Deps{}).Deliver(t.Context(), e); err != nil {
			t.Fatalf("Deliver: %v", err)
		}
		const want = `[
			{"type":"header","text":{"type":"plain_text","text":"Paid: INV-1 &lt;!channel&gt; &amp; co","emoji":true}},
			{"type":"section","block_id":"who","text":{"type":"mrkdwn","text":"*$1,240.50* by Ada (ada@example.com)"},
			 "fields":[{"type":"mrkdwn","text":"*Type*\norders/invoice.paid"}],
			 "accessory":{"type":"button","text":{"type":"plain_text","text":"Open"},"url":"https://example.com/orders?id=776010&x=1"}},
			{"type":"divider"},
			{"type":"context","elements":[{"type":"mrkdwn","text":"from clickfunnels"}]},
			{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Go and see"},"url":"https://example.com"}]},
			{"type":"markdown","text":"**INV-1 &lt;!channel&gt; &amp; co**"},
			{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"Ada <3","style":{"bold":true}}]}]}
		]`
		var blocks []map[string]any
		if err := json.Unmarshal([]byte(want), &blocks); err != nil {
			t.Fatal(err)
		}
		got := server.posted()
		if len(got) != 1 {
			t.Fatalf("the channel has %d messages, want 1", len(got))
		}
		if diff := cmp.Diff(blocks, got[0].Blocks); diff != "" {
			t.Errorf("blocks (-want +got):\n%s", diff)
		}
	})
}

// TestSlackTakesWhatIsTooLong sends values far beyond every limit; the server
// refuses what exceeds one.
func TestSlackTakesWhatIsTooLong(t *testing.T) {
	long := strings.Repeat("a & b <c> ", 20_000)
	blocks := `blocks:
  - {type: header, text: {type: plain_text, text: "{{ .Data.long }}"}}
  - {type: section, text: {type: mrkdwn, text: "x{{ .Data.long }}"}, fields: [{type: mrkdwn, text: "{{ .Data.long }}"}],
     accessory: {type: button, text: {type: plain_text, text: "{{ .Data.long }}"}}}
  - {type: context, elements: [{type: mrkdwn, text: "<https://example.com|{{ .Data.long }}>"}]}
  - {type: actions, elements: [{type: button, text: {type: plain_text, text: "{{ .Data.long }}"}, url: "https://example.com"}]}
  - {type: image, image_url: "https://example.com/a.png", alt_text: "{{ .Data.long }}"}
  - {type: markdown, text: "{{ truncate 9000 .Data.long }}"}
  - {type: markdown, text: "{{ .Data.long }}"}
  - {type: markdown, text: "{{ .Data.long }}"}
`
	eachWay(t, func(t *testing.T, way string, server *slackServer) {
		body, err := json.Marshal(map[string]any{"data": map[string]any{"long": long}})
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []string{"text: '{{ .Data.long }}'", "text: '<https://example.com|{{ .Data.long }}>'", blocks} {
			e := sampleEvent()
			e.Body = body
			if err := openSink(t, "slack", server.options(way, more), Deps{}).Deliver(t.Context(), e); err != nil {
				t.Errorf("Deliver with %.60q: %v", more, err)
			}
		}
		for i, m := range server.posted() {
			if brokenEscape.MatchString(m.Text) {
				t.Errorf("message %d ends within an escape: %q", i, m.Text[len(m.Text)-20:])
			}
		}
	})
}

func TestSlackBlocksThatAreOurs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ blocks, want string }{
		"a URL that is too long": {
			"blocks: [{type: image, alt_text: x, image_url: 'https://example.com/{{ printf \"%4000d\" 1 }}'}]",
			"blocks[0].image_url: has 4020 characters, and Slack takes 3000",
		},
		"nothing left": {"blocks: [{type: section, text: {type: mrkdwn, text: '{{ .Data.note | default \"\" }}'}}]", "every block came to nothing"},
		"missing":      {"blocks: [{type: section, fields: [{type: mrkdwn, text: '{{ .Data.note }}'}]}]", "blocks[0].fields[0].text: .Data.note is not in this event"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newSlackServer(t)
			err := openSink(t, "slack", server.options("webhook", tt.blocks), Deps{}).Deliver(t.Context(), paidEvent())
			checkFailure(t, err, delivery.Ours, tt.want)
			if len(server.posted()) != 0 {
				t.Error("something was posted")
			}
		})
	}
}

// TestBlocksKeepTheirStructure: no value makes the server see other blocks
// than those of the configuration.
func TestBlocksKeepTheirStructure(t *testing.T) {
	t.Parallel()
	server := newSlackServer(t)
	s := openSink(t, "slack", server.options("token", "blocks: [{type: section, text: {type: mrkdwn, text: 'by {{ .Data.name }}'}}]"), Deps{})
	hostile := []string{`"}},{"type":"divider"},{"x":{"y":"`, "\\", "\x00\n\t", "<!channel>", "{{ .ID }}", "\u2028", "’\"'"}
	for _, name := range hostile {
		body, err := json.Marshal(map[string]any{"data": map[string]string{"name": name}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Deliver(t.Context(), event.Event{Body: body}); err != nil {
			t.Errorf("Deliver %q: %v", name, err)
		}
	}
	for i, m := range server.posted() {
		want := []map[string]any{{"type": "section", "text": map[string]any{
			"type": "mrkdwn", "text": strings.TrimSpace("by " + escapeMrkdwn(hostile[i])),
		}}}
		if diff := cmp.Diff(want, m.Blocks); diff != "" {
			t.Errorf("%q (-want +got):\n%s", hostile[i], diff)
		}
	}
}

func TestSlackBlocksOptions(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3001)
	for name, tt := range map[string]struct {
		blocks string
		want   []string
	}{
		"all types":   {fitting, nil},
		"as JSON":     {`blocks: [{"type": "section", "text": {"type": "mrkdwn", "text": "{{ .Type }}"}}]`, nil},
		"fifty":       {manyBlocks(50), nil},
		"fifty-one":   {manyBlocks(51), []string{"2:1: blocks: has 51 blocks, and Slack takes 50"}},
		"no list":     {"blocks: {type: divider}", []string{"2:9: blocks: needs a list of blocks"}},
		"as text":     {"blocks: '[]'", []string{"2:9: blocks: needs a list of blocks"}},
		"nothing":     {"blocks:", []string{"2:1: blocks: needs a list of blocks"}},
		"empty":       {"blocks: []", []string{"2:9: blocks: has no block"}},
		"no block":    {"blocks: [text]", []string{"2:10: blocks[0]: needs a block"}},
		"no type":     {"blocks:\n  - text: x", []string{"3:5: blocks[0].type: has no type"}},
		"other type":  {"blocks:\n  - type: sektion", []string{`3:11: blocks[0].type: is no type of block: "sektion"`}},
		"no text":     {"blocks: [{type: section}]", []string{"2:10: blocks[0]: has no text and no fields"}},
		"wrong shape": {"blocks: [{type: section, text: hello}]", []string{"2:10: blocks[0]: is no section block: json: cannot unmarshal string into Go struct field SectionBlock.text of type slack.TextBlockObject"}},
		"too many": {"blocks: [{type: context, elements: [" + strings.Repeat("{type: mrkdwn, text: x},", 11) + "]}]",
			[]string{"2:36: blocks[0].elements: has 11 items, and Slack takes 10"}},
		"too long":      {"blocks: [{type: section, text: {type: mrkdwn, text: " + long + "}}]", []string{"2:53: blocks[0].text.text: has 3001 characters, and Slack takes 3000"}},
		"long header":   {"blocks: [{type: header, text: {type: plain_text, text: " + long[:151] + "}}]", []string{"2:56: blocks[0].text.text: has 151 characters, and Slack takes 150"}},
		"type template": {"blocks: [{type: section, text: {type: '{{ .Type }}', text: x}}]", []string{"2:39: blocks[0].text.type: type cannot be a template"}},
		"mrkdwn header": {"blocks: [{type: header, text: {type: mrkdwn, text: x}}]", []string{`2:38: blocks[0].text.type: is "mrkdwn" in a header block`}},
		"untyped field": {"blocks: [{type: section, fields: [{text: x}]}]", []string{`2:35: blocks[0].fields[0].type: is "" in a section block`}},
		"two mistakes": {"blocks:\n  - {type: image, alt_text: '{{ .Dta }}'}", []string{
			"3:5: blocks[0]: has no image_url and no slack_file",
			"3:33: blocks[0].alt_text: has no field .Dta",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkOptions(t, "webhook_url: https://hooks.slack.com/services/T/B/x\n"+tt.blocks, tt.want)
		})
	}
}

func BenchmarkSlackMake(b *testing.B) {
	for _, more := range []string{"", "text: '{{ money .Data.total_amount .Data.currency }} by {{ person .Data.order.contact }}'", fitting} {
		name, _, _ := strings.Cut(more+":", ":")
		b.Run(fmt.Sprintf("%s.", name), func(b *testing.B) {
			s := openSink(b, "slack", "webhook_url: https://hooks.slack.com/services/T/B/x\n"+more, Deps{}).(*slackSink)
			e := paidEvent()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.make(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
