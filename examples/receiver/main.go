// Command receiver is a service that takes webhooks, to try Penstock with: it
// prints what arrives and answers 204, or 422 under /refuse. The page at its
// address shows the last of what it got.
//
//	go run ./examples/receiver
package main

import (
	"bytes"
	"encoding/json"
	"errors"
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
	health := flag.String("health", "", "ask the receiver at this address whether it is up, and exit")
	flag.Parse()
	if *health != "" {
		if err := ask(*health); err != nil {
			fmt.Fprintln(os.Stderr, "receiver:", err)
			os.Exit(1)
		}
		return
	}
	r := &receiver{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", r.show)
	mux.HandleFunc("/", r.receive)
	srv := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, "receiver:", srv.ListenAndServe())
	os.Exit(1)
}

// maxBody bounds what is kept of one delivery; the rest is read and counted.
const maxBody = 64 << 10

// receiver takes deliveries and keeps the last of them.
type receiver struct {
	kept
}

func (rec *receiver) receive(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(r.Body, maxBody))
	if err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, r.Body)
		n += rest
	}
	if err != nil {
		return // the sender has gone
	}
	status := http.StatusNoContent
	if strings.HasPrefix(r.URL.Path, "/refuse") {
		status = http.StatusUnprocessableEntity
	}
	d := delivered{
		At: time.Now(), Path: r.URL.Path, Subject: r.Header.Get("Penstock-Subject"), ID: r.Header.Get("Webhook-Id"),
		Size: n, Status: status, Body: readable(body.Bytes()),
	}
	rec.add(d)
	// Webhook-Id is the same on every attempt: keep it, and a repeated event is
	// easily told.
	fmt.Printf("%s  %s  %s  %d bytes, answered %d\n", d.Path, d.Subject, d.ID, d.Size, d.Status)
	w.WriteHeader(status)
}

// readable indents JSON, for people.
func readable(body []byte) string {
	var out bytes.Buffer
	if json.Indent(&out, body, "", "  ") != nil {
		return string(body)
	}
	return out.String()
}

// ask is the health check of a container that has nothing but this program.
func ask(address string) error {
	client := &http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get(address)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(address + " answered " + resp.Status)
	}
	return nil
}
