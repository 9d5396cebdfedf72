package sinks

import "github.com/penstock/penstock/internal/event"

// Previewer is a Sink that can show what it would hand over. All kinds do.
type Previewer interface {
	// Preview returns what Deliver would send for e, without sending it. It
	// fails as Deliver would when nothing can be made of e.
	Preview(e event.Event) (Preview, error)
}

// Preview is what would be sent. Secrets are replaced by ***, which is what
// makes it fit to be shown.
type Preview struct {
	// Target says where it goes: "POST https://crm.example.com/hooks",
	// "s3://bucket/key", "channel #sales".
	Target string
	// Header are names and values, in the order in which they are shown.
	Header []HeaderLine
	// Body is what is sent, as it is but for compression.
	Body []byte
}

// HeaderLine is a name with a value.
type HeaderLine struct{ Name, Value string }
