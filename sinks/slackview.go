package sinks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// slackView is what a template sees of an event.
type slackView struct {
	ID         string
	Type       string
	Subject    string
	Source     string
	APIVersion int
	Received   time.Time
	Data       map[string]any
	Body       string
}

// slackFields documents slackView, for the page that describes templates.
func slackFields() []templateField {
	return []templateField{
		{"ID", "the event's id"},
		{"Type", "its type as it was sent, orders/invoice.paid"},
		{"Subject", "its subject, orders.invoice.paid"},
		{"Source", "the source that received it"},
		{"APIVersion", "the sender's API version, 0 when unknown"},
		{"Received", "when it arrived; show it with date"},
		{"Data", "the object data of the body, numbers kept exactly; with its attributes beside them in API version 1, so that one template fits both"},
		{"Body", "the whole body, as text"},
	}
}

// templateField is a field that templates may name.
type templateField struct{ name, doc string }

func newSlackView(e event.Event) *slackView {
	return &slackView{
		ID: e.ID, Type: e.Type, Subject: e.Subject, Source: e.Source,
		APIVersion: e.APIVersion, Received: e.Received,
		Data: eventData(e.Body), Body: string(e.Body),
	}
}

// field returns a field by its name.
func (v *slackView) field(name string) (any, bool) {
	switch name {
	case "ID":
		return v.ID, true
	case "Type":
		return v.Type, true
	case "Subject":
		return v.Subject, true
	case "Source":
		return v.Source, true
	case "APIVersion":
		return v.APIVersion, true
	case "Received":
		return v.Received, true
	case "Data":
		return v.Data, true
	case "Body":
		return v.Body, true
	}
	return nil, false
}

// eventData returns the object data of a body, empty when it has none. The
// attributes of JSON:API, API version 1, are found beside their parent's keys.
func eventData(body []byte) map[string]any {
	var payload struct {
		Data json.RawMessage `json:"data"`
	}
	var data map[string]any
	if json.Unmarshal(body, &payload) != nil || decodeExact(payload.Data, &data) != nil || data == nil {
		return map[string]any{}
	}
	attributes, _ := data["attributes"].(map[string]any)
	if _, typed := data["type"].(string); typed {
		for key, value := range attributes {
			if _, has := data[key]; !has {
				data[key] = value
			}
		}
	}
	return data
}

// decodeExact decodes JSON with numbers as they are written.
func decodeExact(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// missing is what a template gets for a value that is not in the event, with
// the reason. It is a slice of no length, which if, with, and, or and range
// take for false and empty; the reason lies behind its length.
type missing []string

func missingFor(format string, args ...any) missing {
	return missing{fmt.Sprintf(format, args...)}[:0]
}

func (m missing) reason() string {
	if cap(m) == 0 {
		return "has no value"
	}
	return m[:1][0]
}

// lookUp follows a path of keys and indexes from dot.
func lookUp(dot any, path ...string) any {
	at := dot
	for i, name := range path {
		next, ok := member(at, name)
		if ok && next != nil {
			at = next
			continue
		}
		full := "." + strings.Join(path, ".")
		switch parent := "." + strings.Join(path[:i], "."); {
		case ok && i == len(path)-1:
			return missingFor("%s is null in this event", full)
		case ok:
			return missingFor("%s is not in this event: .%s is null", full, strings.Join(path[:i+1], "."))
		case i == 0:
			return missingFor("%s is not in this event", full)
		default:
			return missingFor("%s is not in this event: %s has no %s", full, parent, name)
		}
	}
	if at == nil {
		return missingFor("has no value")
	}
	return at
}

func member(of any, name string) (any, bool) {
	switch of := of.(type) {
	case *slackView:
		return of.field(name)
	case map[string]any:
		v, ok := of[name]
		return v, ok
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(of) {
			return of[i], true
		}
	}
	return nil, false
}
