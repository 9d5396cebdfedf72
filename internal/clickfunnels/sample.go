package clickfunnels

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed samples
var samples embed.FS

// SampleOptions say how a sample differs from the usual one.
type SampleOptions struct {
	// Version is the API version, 1 or 2; 0 means the highest one in which
	// the type is sent.
	Version int
	// ID is the event_id. Empty means one made from the type, the version and
	// Now: the same three give the same id, which the store takes for the
	// same event.
	ID string
	// Now moves every time in the sample, so that what happened last happened
	// now. The zero time leaves them in November 2026.
	Now time.Time
	// Set replaces values, in order, last of all.
	Set []Assignment
	// Force makes a sample of a type that the catalogue does not have, or not
	// in Version.
	Force bool
}

// sampleLatest is the latest time in the templates that is not a plan.
const sampleLatest = "2026-11-20T14:03:25.004Z"

const sampleTime = "2006-01-02T15:04:05.000Z"

// templates names the template of resources whose own name does not.
var templates = map[string]string{
	"One-Time Order":                       "order",
	"Subscription":                         "order",
	"OneTimeOrder::Invoice":                "orders_invoice",
	"Subscription::Invoice":                "orders_invoice",
	"Runs::Step":                           "workflow_step",
	"Workflows::Integration::Step":         "workflow_step",
	"Workflows::Steps::IntegrationStep":    "workflow_step",
	"Workflows::Steps::DeliverWebhookStep": "workflow_step",
}

// Sample returns a made-up body of an event type, or of the type with that
// subject, byte for byte in the form in which ClickFunnels writes JSON: no
// blanks, keys in the order of PostgreSQL's jsonb, '<', '>' and '&' escaped.
func (c *Catalog) Sample(eventType string, o SampleOptions) ([]byte, error) {
	e, err := c.sampleEntry(eventType, &o)
	if err != nil {
		return nil, err
	}
	body, err := c.template(e, o.Version)
	if err != nil {
		return nil, fmt.Errorf("make sample of %s: %w", e.Type, err)
	}
	if o.ID == "" {
		o.ID = madeUpID(e.Type, o.Version, o.Now)
	}
	if !o.Now.IsZero() {
		body = shiftTimes(body, o.Now)
	}
	sets := append([]Assignment{{"event_type", quote(e.Type)}, {"event_id", quote(o.ID)}}, o.Set...)
	if body, err = applyAll(body, sets); err != nil {
		return nil, fmt.Errorf("make sample of %s: %w", e.Type, err)
	}
	return wireForm(body)
}

// sampleEntry finds the entry and settles the version.
func (c *Catalog) sampleEntry(eventType string, o *SampleOptions) (Entry, error) {
	e, known := c.Resolve(eventType)
	switch {
	case o.Version < 0 || o.Version > 2:
		return Entry{}, fmt.Errorf("API version %d does not exist; 1 and 2 do", o.Version)
	case !known && !o.Force:
		return Entry{}, fmt.Errorf("event type %q is not in the catalogue%s", eventType, c.didYouMean(eventType))
	case !known:
		e = Entry{Type: eventType, Versions: []int{1, 2}}
	}
	if o.Version == 0 {
		o.Version = slices.Max(e.Versions)
	}
	if !e.SentIn(o.Version) && !o.Force {
		return Entry{}, fmt.Errorf("%s is not sent in API version %d, only in %d", e.Type, o.Version, e.Versions[0])
	}
	return e, nil
}

func (c *Catalog) didYouMean(s string) string {
	if near := c.Suggest(s); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// template returns the body of the entry's resource in the given version.
func (c *Catalog) template(e Entry, version int) ([]byte, error) {
	name := templates[e.Resource]
	if name == "" {
		name = underscore(e.Resource)
	}
	if version == 1 {
		if body, err := samples.ReadFile("samples/" + name + "_v1.json"); err == nil {
			return applyAll(body, v1Names(name, e.Resource))
		}
	}
	body, err := samples.ReadFile("samples/" + name + ".json")
	if err != nil { // a forced type or version
		body, err = samples.ReadFile("samples/generic.json")
	}
	if err != nil {
		return nil, err
	}
	changes := slices.Concat(c.changes[e.Resource], c.changes[e.canonical()])
	if body, err = applyAll(body, changes); err != nil || version == 2 {
		return body, err
	}
	return wrapV1(body), nil
}

// v1Names gives the shared template of the workflow steps the step's own names.
func v1Names(name, resource string) []Assignment {
	if name != "workflow_step" {
		return nil
	}
	return []Assignment{
		{"subject_type", quote(resource)},
		{"data.type", quote(jsonAPIType(resource))},
	}
}

// wrapV1 turns a body of version 2 into one of version 1: fewer fields around
// the data, and the data's fields in attributes.
func wrapV1(body []byte) []byte {
	var subjectType string
	_ = json.Unmarshal(valueAt(body, "subject_type"), &subjectType) // templates are valid
	id := valueAt(body, "data", "id")
	return slices.Concat(
		[]byte(`{"data":{"id":"`), id, []byte(`","type":`), []byte(quote(jsonAPIType(subjectType))),
		[]byte(`,"attributes":`), valueAt(body, "data"),
		[]byte(`},"event_id":null,"event_type":null,"subject_id":`), id,
		[]byte(`,"subject_type":`), valueAt(body, "subject_type"), []byte(`}`),
	)
}

// jsonAPIType is what version 1 calls a class: "Orders::Invoice" is "invoice".
func jsonAPIType(class string) string {
	return underscore(class[strings.LastIndex(class, ":")+1:])
}

// underscore writes a class name in the manner of Ruby's file names, with '_'
// between modules: "Contacts::AppliedTag" is "contacts_applied_tag".
func underscore(class string) string {
	var b strings.Builder
	class = strings.ReplaceAll(class, "::", "_")
	for i := range len(class) {
		c := class[i]
		if 'A' <= c && c <= 'Z' {
			if i > 0 && class[i-1] != '_' {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String()
}

// readChanges parses samples/changes.txt into the changes per resource or type.
func readChanges() (map[string][]Assignment, error) {
	data, err := samples.ReadFile("samples/changes.txt")
	if err != nil {
		return nil, err
	}
	changes := map[string][]Assignment{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		what, assignment, _ := strings.Cut(line, "\t")
		a, err := ParseAssignment(assignment)
		if err != nil {
			return nil, fmt.Errorf("read change of %q: %w", what, err)
		}
		changes[what] = append(changes[what], a)
	}
	return changes, nil
}

func applyAll(body []byte, as []Assignment) ([]byte, error) {
	for _, a := range as {
		var err error
		if body, err = a.apply(body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// shiftTimes moves every time in body by what lies between now and the latest
// time of the templates.
func shiftTimes(body []byte, now time.Time) []byte {
	latest, _ := time.Parse(sampleTime, sampleLatest) // a constant that parses
	shift := now.Sub(latest)
	times := regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	return times.ReplaceAllFunc(body, func(old []byte) []byte {
		t, err := time.Parse(sampleTime, string(old[1:len(old)-1]))
		if err != nil {
			return old
		}
		return []byte(quote(t.Add(shift).UTC().Format(sampleTime)))
	})
}

// madeUpID returns a UUID that depends on the arguments alone.
func madeUpID(eventType string, version int, now time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", eventType, version, now.UnixNano()))
	sum[6] = sum[6]&0x0f | 0x40 // the bits that mark a random UUID
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// wireForm writes JSON as the sender does.
func wireForm(body []byte) ([]byte, error) {
	var compact, out bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		return nil, err
	}
	json.HTMLEscape(&out, compact.Bytes())
	return out.Bytes(), nil
}

// quote writes s as a JSON string.
func quote(s string) string {
	text, _ := json.Marshal(s) // a string always marshals
	return string(text)
}
