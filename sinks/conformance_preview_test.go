package sinks

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/event"
)

// TestEveryKindShowsWhatItWouldSend previews events of every shape.
func TestEveryKindShowsWhatItWouldSend(t *testing.T) {
	events := map[string]func(*event.Event){
		"usual":       func(*event.Event) {},
		"no body":     func(e *event.Event) { e.Body = nil },
		"broken JSON": func(e *event.Event) { e.Body = []byte(`{"a": `) },
		"1 MiB":       func(e *event.Event) { e.Body = []byte(`"` + strings.Repeat("x", 1<<20-2) + `"`) },
		"line breaks": func(e *event.Event) { e.Type = "a\r\nX-Evil: 1" },
		"long":        func(e *event.Event) { e.Type = strings.Repeat("ü", 2500) },
	}
	everyKind(t, func(t *testing.T, kind string, f fixture) {
		for name, change := range events {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				r := newReceiver(t, nil)
				s, ok := f.open(t, kind, r).(Previewer)
				if !ok {
					t.Fatalf("the kind %s is no Previewer", kind)
				}
				e := sampleEvent()
				change(&e)
				p, err := s.Preview(e)
				if err != nil {
					t.Fatalf("Preview: %v", err)
				}
				if p.Target == "" || strings.ContainsAny(p.Target, "\r\n") {
					t.Errorf("Target is %q, want one line", p.Target)
				}
				checkNoSecret(t, "target", p.Target)
				checkNoSecret(t, "body", string(p.Body))
				for _, h := range p.Header {
					checkNoSecret(t, "header "+h.Name, h.Value)
					if strings.ContainsAny(h.Name+h.Value, "\r\n") {
						t.Errorf("header %q: %q has a line break", h.Name, h.Value)
					}
				}
				if got := f.receipts(r, t); len(got) != 0 {
					t.Errorf("Preview sent %.300q", got)
				}
			})
		}
	})
}
