package sinks

import "net/http"

// Keys returns, by kind, the struct that the keys of its own are read into,
// with its defaults: what the reference and the schema are generated from.
func Keys() map[string]any {
	return map[string]any{
		"http": httpKeys{Method: http.MethodPost},
		"log":  logOptions{Body: true},
	}
}
