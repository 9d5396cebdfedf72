package sinks

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/penstock/penstock/config"
)

// slackBlocks are Block Kit blocks whose strings are templates. The structure
// is the configuration's alone: no event can change it.
type slackBlocks struct {
	blocks []blockPart
	node   config.Node
}

// blockPart is a mapping, a list, a template, or a value that is always the same.
type blockPart struct {
	keys    []string // of a mapping, parallel to parts
	parts   []blockPart
	list    bool
	literal any
	text    *textTemplate
	limit   textLimit
}

// textLimit is how long a text may be. What shows is cut; what does something,
// such as a link, would not do it any more, so that it is an error.
type textLimit struct {
	max    int
	mrkdwn bool
	cut    bool
}

// blockRule is what Slack demands of a type of block.
type blockRule struct {
	needs []string // one key of each, alternatives by |
	most  map[string]int
	// texts are the types of text objects, directly in the block or in a list
	// of it; none: not checked.
	texts []string
}

// blockRules are the rules of the types that messages are made of. Types that
// slack-go knows and this table does not are taken as they are.
func blockRules() map[string]blockRule {
	return map[string]blockRule{
		"section": {needs: []string{"text|fields"}, most: map[string]int{"fields": maxFields}, texts: []string{"mrkdwn", "plain_text"}},
		"header":  {needs: []string{"text"}, texts: []string{"plain_text"}},
		"context": {needs: []string{"elements"}, most: map[string]int{"elements": maxContextParts}, texts: []string{"mrkdwn", "plain_text", "image"}},
		"actions": {needs: []string{"elements"}, most: map[string]int{"elements": maxActionParts}},
		"image":   {needs: []string{"image_url|slack_file", "alt_text"}},
		"markdown": {
			needs: []string{"text"},
		},
		"rich_text": {needs: []string{"elements"}},
		"video":     {needs: []string{"video_url", "thumbnail_url", "alt_text", "title"}},
		"table":     {needs: []string{"rows"}},
		"divider":   {},
	}
}

// decodeBlocks reads the list that is n.
func decodeBlocks(n config.Node) (*slackBlocks, config.Mistakes) {
	items := n.Items()
	switch {
	case n.Shape() != config.List:
		return nil, config.Mistakes{n.Errorf("", "needs a list of blocks", "begin every block with a dash: - type: section")}
	case len(items) == 0:
		return nil, config.Mistakes{n.Errorf("", "has no block", "add one, or leave blocks out")}
	case len(items) > maxBlocks:
		return nil, config.Mistakes{n.Errorf("", fmt.Sprintf("has %d blocks, and Slack takes %d", len(items), maxBlocks), "use fewer")}
	}
	b := &slackBlocks{node: n}
	var mistakes config.Mistakes
	for _, item := range items {
		part, ms := decodeBlock(item)
		b.blocks, mistakes = append(b.blocks, part), append(mistakes, ms...)
	}
	return b, mistakes
}

func decodeBlock(n config.Node) (blockPart, config.Mistakes) {
	const hint = "known are section, header, divider, context, image, actions, markdown, rich_text, ..."
	kind, _ := n.Get("type").Scalar().(string)
	switch {
	case n.Shape() != config.Mapping:
		return blockPart{}, config.Mistakes{n.Errorf("", "needs a block", "write - type: section")}
	case kind == "":
		return blockPart{}, config.Mistakes{n.Errorf("type", "has no type", hint)}
	}
	part, mistakes := decodePart(n, blockPlace{block: kind})
	mistakes = append(mistakes, ruleMistakes(n, kind)...)
	if len(mistakes) > 0 {
		return part, mistakes
	}
	var parsed slack.Blocks
	sample, err := json.Marshal([]any{part.sample()})
	if err == nil {
		err = json.Unmarshal(sample, &parsed)
	}
	if err != nil {
		return part, config.Mistakes{n.Errorf("", "is no "+kind+" block: "+err.Error(), "compare it with Slack's Block Kit Builder")}
	}
	if _, unknown := parsed.BlockSet[0].(*slack.UnknownBlock); unknown {
		return part, config.Mistakes{n.Errorf("type", fmt.Sprintf("is no type of block: %q", kind), hint)}
	}
	return part, nil
}

func ruleMistakes(n config.Node, kind string) config.Mistakes {
	var mistakes config.Mistakes
	rule := blockRules()[kind]
	for _, needed := range rule.needs {
		found := false
		for key := range strings.SplitSeq(needed, "|") {
			found = found || !n.Get(key).IsZero()
		}
		if !found {
			mistakes = append(mistakes, n.Errorf("", "has no "+strings.ReplaceAll(needed, "|", " and no "), "a "+kind+" block needs it"))
		}
	}
	for key, most := range rule.most {
		if got := len(n.Get(key).Items()); got > most {
			mistakes = append(mistakes, n.Errorf(key, fmt.Sprintf("has %d items, and Slack takes %d", got, most), "use fewer, or one more block"))
		}
	}
	mistakes = append(mistakes, textMistakes(n, kind, rule.texts)...)
	if id, ok := n.Get("block_id").Scalar().(string); ok && utf8.RuneCountInString(id) > maxBlockID {
		mistakes = append(mistakes, n.Errorf("block_id", fmt.Sprintf("is longer than %d characters", maxBlockID), "shorten it"))
	}
	mistakes.Sort()
	return mistakes
}

// textMistakes checks the types of the text objects of a block.
func textMistakes(n config.Node, kind string, types []string) config.Mistakes {
	if len(types) == 0 {
		return nil
	}
	objects := append(n.Get("fields").Items(), n.Get("text"))
	if kind == "context" {
		objects = n.Get("elements").Items()
	}
	var mistakes config.Mistakes
	for _, object := range objects {
		got, _ := object.Get("type").Scalar().(string)
		if object.Shape() != config.Mapping || slices.Contains(types, got) || strings.Contains(got, "{{") {
			continue // told elsewhere
		}
		mistakes = append(mistakes, object.Errorf("type", fmt.Sprintf("is %q in a %s block", got, kind), "use "+strings.Join(types, " or ")))
	}
	return mistakes
}

// blockPlace is where in a block a part stands.
type blockPlace struct {
	block  string // type of the block
	object string // type of the nearest mapping
	parent string // key of that mapping
	key    string // key of the part itself
}

func decodePart(n config.Node, at blockPlace) (blockPart, config.Mistakes) {
	var p blockPart
	var mistakes config.Mistakes
	switch n.Shape() {
	case config.Mapping:
		kind, _ := n.Get("type").Scalar().(string)
		for _, key := range n.Keys() {
			part, ms := decodePart(n.Get(key), blockPlace{at.block, kind, at.key, key})
			p.keys, p.parts, mistakes = append(p.keys, key), append(p.parts, part), append(mistakes, ms...)
		}
	case config.List:
		p.list = true
		for _, item := range n.Items() {
			part, ms := decodePart(item, at)
			p.parts, mistakes = append(p.parts, part), append(mistakes, ms...)
		}
	default:
		text, ok := n.Scalar().(string)
		if !ok || !strings.Contains(text, "{{") {
			p.literal = n.Scalar()
			return p, literalMistakes(n, text, at)
		}
		if at.key == "type" || at.key == "block_id" || at.key == "action_id" {
			return p, config.Mistakes{n.Errorf("", at.key+" cannot be a template", "write it out")}
		}
		p.limit = limitOf(at)
		p.text, mistakes = newTemplate(n, n.Path, text, p.limit.mrkdwn)
	}
	return p, mistakes
}

func literalMistakes(n config.Node, text string, at blockPlace) config.Mistakes {
	limit := limitOf(at)
	if length := utf8.RuneCountInString(text); length > limit.max {
		return config.Mistakes{n.Errorf("", fmt.Sprintf("has %d characters, and Slack takes %d", length, limit.max), "shorten it")}
	}
	if at.key == "text" && text == "" && n.Shape() != config.Null {
		return config.Mistakes{n.Errorf("", "is empty, which Slack refuses", "write a text")}
	}
	return nil
}

// limitOf says how long the text at a place may be.
func limitOf(at blockPlace) textLimit {
	mrkdwn := at.key == "text" && (at.object == "mrkdwn" || at.object == "plain_text" || at.object == "markdown")
	limit := func(max int) textLimit { return textLimit{max, mrkdwn, true} }
	switch {
	case at.key == "url" || strings.HasSuffix(at.key, "_url"):
		return textLimit{max: maxURL}
	case at.key == "alt_text" || at.key == "value":
		return limit(maxAltText)
	case at.object == "markdown":
		return limit(maxMarkdownText)
	case at.block == "header":
		return limit(maxHeaderText)
	case at.parent == "fields", at.parent == "title":
		return limit(maxFieldText)
	case at.block == "actions", at.parent == "accessory", at.object == "plain_text" && at.parent == "text" && at.block != "section":
		return limit(maxButtonText)
	}
	return limit(maxSectionText)
}

// sample is the part with a word for every template, to look at its structure.
func (p blockPart) sample() any {
	switch {
	case p.text != nil:
		return "x"
	case p.list:
		list := []any{}
		for _, part := range p.parts {
			list = append(list, part.sample())
		}
		return list
	case p.keys != nil:
		object := map[string]any{}
		for i, key := range p.keys {
			object[key] = p.parts[i].sample()
		}
		return object
	}
	return p.literal
}

// run returns the blocks for an event. A text that comes to nothing, which
// Slack refuses, takes what holds it away: a field, an element, a block.
func (b *slackBlocks) run(v *slackView) ([]slack.Block, error) {
	var out []slack.Block
	markdown := maxMarkdownText // for all such blocks together
	for _, p := range b.blocks {
		value, ok, err := p.run(v)
		if err != nil {
			return nil, err
		}
		if !ok || !fitMarkdown(value, &markdown) {
			continue
		}
		data, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("%s: write as JSON: %w", b.node.Path, err)
		}
		block, err := slack.BlockFromJSON(string(data))
		if err != nil {
			return nil, fmt.Errorf("%s: read as a block: %w", b.node.Path, err)
		}
		out = append(out, block)
	}
	if len(out) == 0 {
		return nil, errors.New("blocks: every block came to nothing for this event")
	}
	return out, nil
}

// fitMarkdown cuts the text of a markdown block to what is left for it, and
// reports whether anything is.
func fitMarkdown(value any, left *int) bool {
	block, _ := value.(map[string]any)
	text, ok := block["text"].(string)
	if !ok || block["type"] != "markdown" {
		return true
	}
	if *left < 1 {
		return false
	}
	text = cutText(text, *left)
	block["text"] = text
	*left -= utf8.RuneCountInString(text)
	return true
}

// run returns the part for an event; ok is false when nothing is left of it.
func (p blockPart) run(v *slackView) (value any, ok bool, err error) {
	switch {
	case p.text != nil:
		return p.runText(v)
	case p.list:
		return p.runList(v)
	case p.keys == nil:
		return p.literal, true, nil
	}
	object := make(map[string]any, len(p.keys))
	for i, key := range p.keys {
		value, ok, err := p.parts[i].run(v)
		if err != nil {
			return nil, false, err
		}
		if ok {
			object[key] = value
			continue
		}
		if key != "accessory" && key != "fields" && (key != "text" || !p.has("fields")) {
			return nil, false, nil
		}
	}
	_, hasText := object["text"]
	_, hasFields := object["fields"]
	return object, hasText || hasFields || !p.has("fields"), nil
}

func (p blockPart) has(key string) bool {
	for _, k := range p.keys {
		if k == key {
			return true
		}
	}
	return false
}

func (p blockPart) runList(v *slackView) (any, bool, error) {
	list := make([]any, 0, len(p.parts))
	for _, part := range p.parts {
		value, ok, err := part.run(v)
		if err != nil {
			return nil, false, err
		}
		if ok {
			list = append(list, value)
		}
	}
	return list, len(list) > 0, nil
}

func (p blockPart) runText(v *slackView) (any, bool, error) {
	text, err := p.text.run(v)
	if err != nil || text == "" {
		return nil, false, err
	}
	switch length := utf8.RuneCountInString(text); {
	case length > p.limit.max && !p.limit.cut:
		return nil, false, fmt.Errorf("%s: has %d characters, and Slack takes %d", p.text.key, length, p.limit.max)
	case p.limit.mrkdwn:
		return cutText(text, p.limit.max), true, nil
	}
	return cutRunes(text, p.limit.max), true, nil
}
