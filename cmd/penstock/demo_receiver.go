package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// receiver plays the services that events are for. It answers as the script
// says.
type receiver struct {
	script   *script
	screen   *screen
	listener net.Listener
	server   *http.Server
	served   chan error
}

// startReceiver listens on a free port and serves until stop.
func startReceiver(s *script, screen *screen) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the demo's receiver: %w", err)
	}
	r := &receiver{script: s, screen: screen, listener: l, served: make(chan error, 1)}
	r.server = &http.Server{Handler: http.HandlerFunc(r.take), ReadHeaderTimeout: 5 * time.Second}
	go func() { r.served <- r.server.Serve(l) }()
	return r, nil
}

func (r *receiver) url() string { return "http://" + r.listener.Addr().String() }

// take answers one delivery.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, "the body did not arrive", http.StatusBadRequest)
		return
	}
	status, unchanged := r.script.answer(strings.TrimPrefix(req.URL.Path, "/"), req.Header.Get("Webhook-Id"), body)
	if status == http.StatusOK && unchanged {
		r.screen.arrived()
	}
	w.WriteHeader(status)
	if status == http.StatusUnprocessableEntity {
		_, _ = io.WriteString(w, "no such contact") // a sender that has gone needs no reason
	}
}

func (r *receiver) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		_ = r.server.Close() // what is left is ours, and of no more use
	}
	if err := <-r.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the demo's receiver: %w", err)
	}
	return nil
}
