package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that prints as ***, however it is printed. The zero
// Secret is empty and prints as nothing. Compare Secrets with Equal, not ==.
type Secret struct {
	// A pointer, because fmt prints what is behind an unexported field of
	// somebody's struct without asking us, but not what a pointer points to.
	value *string
}

// NewSecret wraps s.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{&s}
}

// Reveal returns the secret itself. Call it only where it is used.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports that there is no secret.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal reports that both hold the same text. It is for comparing
// configurations, not credentials: it takes as long as they agree.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return "***"
}

// GoString implements fmt.GoStringer, for %#v.
func (s Secret) GoString() string { return `config.Secret{"` + s.String() + `"}` }

// Format implements fmt.Formatter, for every other verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	switch {
	case verb == 'v' && f.Flag('#'):
		text = s.GoString()
	case verb == 'q':
		text = `"` + text + `"`
	}
	io.WriteString(f, text) // a fmt.State keeps its own errors
}

// MarshalText implements encoding.TextMarshaler, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
