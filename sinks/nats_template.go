package sinks

import (
	"errors"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
)

// natsFields are what the templates may name.
type natsFields struct {
	Subject, Type, Source, ID, Sink string
	APIVersion                      int
}

// field is the value of a field by its name.
func (f natsFields) field(name string) string {
	switch name {
	case "Subject":
		return f.Subject
	case "Type":
		return f.Type
	case "Source":
		return f.Source
	case "ID":
		return f.ID
	case "Sink":
		return f.Sink
	}
	return strconv.Itoa(f.APIVersion)
}

// sampleFields is the event with which templates are tried.
var sampleFields = event.Event{
	ID: "0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10", Type: "orders/invoice.paid", Source: "clickfunnels",
	Subject: "orders.invoice.paid", APIVersion: 2,
}

// natsTemplate is a template of text and fields.
type natsTemplate struct {
	full *template.Template
	// parts are the whole template when it is no more than text and names of
	// fields, as nearly all are: joining those costs little.
	parts []templatePart
}

type templatePart struct{ text, field string }

// newNATSTemplate parses and tries a template.
func newNATSTemplate(n config.Node, key, text string, sample natsFields) (*natsTemplate, config.Mistakes) {
	const hint = "the fields are .Subject, .Type, .Source, .ID, .APIVersion and .Sink"
	full, err := template.New(key).Parse(text)
	if err == nil {
		err = full.Execute(&strings.Builder{}, sample)
	}
	if err != nil {
		return nil, config.Mistakes{n.Errorf(key, "is not a template that works: "+natsTemplateError(err), hint)}
	}
	return &natsTemplate{full: full, parts: partsOfTemplate(full)}, nil
}

// partsOfTemplate returns nil for a template that does more.
func partsOfTemplate(t *template.Template) []templatePart {
	var parts []templatePart
	if t.Tree == nil { // the template of an empty text
		return nil
	}
	for _, node := range t.Root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			parts = append(parts, templatePart{text: string(n.Text)})
		case *parse.ActionNode:
			if len(n.Pipe.Decl) > 0 || len(n.Pipe.Cmds) != 1 || len(n.Pipe.Cmds[0].Args) != 1 {
				return nil
			}
			f, ok := n.Pipe.Cmds[0].Args[0].(*parse.FieldNode)
			if !ok || len(f.Ident) != 1 {
				return nil
			}
			parts = append(parts, templatePart{field: f.Ident[0]})
		default:
			return nil
		}
	}
	return parts
}

// render fills in the fields.
func (t *natsTemplate) render(f natsFields) (string, error) {
	var b strings.Builder
	if t.parts == nil {
		if err := t.full.Execute(&b, f); err != nil {
			return "", errors.New(natsTemplateError(err))
		}
		return b.String(), nil
	}
	for _, p := range t.parts {
		b.WriteString(p.text)
		if p.field != "" {
			b.WriteString(f.field(p.field))
		}
	}
	return b.String(), nil
}

// natsTemplateError leaves out the place that Go names, which is not the file's.
func natsTemplateError(err error) string {
	text := strings.TrimPrefix(err.Error(), "template: ")
	if at := strings.LastIndex(text, ">: "); at >= 0 {
		return text[at+3:]
	}
	if parts := strings.SplitN(text, ": ", 2); len(parts) == 2 {
		return parts[1]
	}
	return text
}
