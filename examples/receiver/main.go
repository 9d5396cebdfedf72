// Command receiver is a service that takes webhooks, to try Penstock with: it
// prints what arrives and answers 204, or 422 under /refuse.
//
//	go run ./examples/receiver
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address to listen on")
	flag.Parse()
	srv := &http.Server{Addr: *listen, Handler: http.HandlerFunc(receive), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, "receiver:", srv.ListenAndServe())
	os.Exit(1)
}

func receive(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return // the sender has gone
	}
	status := http.StatusNoContent
	if strings.HasPrefix(r.URL.Path, "/refuse") {
		status = http.StatusUnprocessableEntity
	}
	// Webhook-Id is the same on every attempt: keep it, and a repeated event is
	// easily told.
	fmt.Printf("%s  %s  %s  %d bytes, answered %d\n", r.URL.Path, r.Header.Get("Penstock-Subject"), r.Header.Get("Webhook-Id"), n, status)
	w.WriteHeader(status)
}
