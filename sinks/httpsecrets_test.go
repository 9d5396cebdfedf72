package sinks

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

// TestHTTPSecretsInFull gives each key of http that has room for one a secret,
// sends to a receiver that repeats all that it gets and knows, and looks at all
// that comes out of the sink.
func TestHTTPSecretsInFull(t *testing.T) {
	t.Parallel()
	const secret = "hunter22/very+secret"
	signing := base64Of("signing " + secret)
	shown := []string{secret, signing, "token-secret-1", base64Of("me:" + secret)}
	ids := newTokenServer(t, 3600)
	for name, options := range map[string]string{
		"basic":               "auth: {basic: {username: me, password: '" + secret + "'}}",
		"bearer":              "auth: {bearer: {token: '" + secret + "'}}",
		"oauth2":              strings.ReplaceAll(ids.auth(", params: {x: '"+secret+"'}"), headerSecret, secret),
		"header":              "headers: {X-Api-Key: '" + secret + "'}",
		"query":               "query: {key: '" + secret + "'}",
		"standard webhooks":   "sign: {scheme: standard-webhooks, secrets: whsec_" + signing + "}",
		"clickfunnels":        "sign: {scheme: clickfunnels, secrets: '" + secret + "'}",
		"hmac, sent unhashed": "sign: {scheme: hmac, header: X-S, secrets: '" + secret + "'}",
		"path of a template":  "method: PUT",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				for _, known := range []string{secret, signing} { // who verifies knows it
					if strings.Contains(options, "sign:") && strings.Contains(options, known) {
						_, _ = fmt.Fprintln(w, "not signed with", known)
					}
				}
				dump, _ := httputil.DumpRequest(r, true)
				_, _ = w.Write(dump)
			})
			path := "/hooks"
			if name == "path of a template" {
				path = "/" + strings.ReplaceAll(secret, "/", "-") + "/{{.Subject}}"
			}
			logger, logged := quiet()
			s := openSink(t, "http", "url: '"+r.URL+path+"'\n"+options, Deps{Logger: logger})
			e := sampleEvent()
			err := s.Deliver(within(t, longEnough), e)
			var d *delivery.Error
			if !errors.As(err, &d) || d.Status != http.StatusForbidden {
				t.Fatalf("Deliver = %v, want 403", err)
			}
			p, err := s.(Previewer).Preview(e)
			if err != nil {
				t.Fatalf("Preview: %v", err)
			}
			out := fmt.Sprintf("%v\n%s\n%+v\n%s\n%v %+v %#v\n%s", d, d.Response, p, p.Body, s, s, s, logged)
			h := r.lastHeader(t)
			signature := h.Get("Webhook-Signature") + h.Get("X-Webhook-Clickfunnels-Signature") + h.Get("X-S")
			for _, word := range slices.Concat(shown, []string{signature}) {
				for _, form := range append(spellings(word), strings.ReplaceAll(word, "/", "-")) {
					if form != "" && strings.Contains(out, form) {
						t.Errorf("the secret %q comes out:\n%s", form, out)
					}
				}
			}
		})
	}
}

// TestHTTPPreview is what a person gets to see of a request.
func TestHTTPPreview(t *testing.T) {
	t.Parallel()
	s := openSink(t, "http", "url: https://crm.example.com/hooks/"+pathSecret+"?a=b&t0ken\nquery: {key: '"+querySecret+"'}\n"+
		"gzip: true\nheaders: {X-Tenant: b}\nsign: {scheme: standard-webhooks, secrets: "+base64Of(rawKey)+"}\n"+
		"auth: {basic: {username: me, password: "+headerSecret+"}}", Deps{Version: "1.2.3"})
	e := sampleEvent()
	e.Body = []byte(strings.Repeat("x", minGzip))
	p, err := s.(Previewer).Preview(e)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	fmt.Fprintln(&got, p.Target)
	for _, h := range p.Header {
		if h.Name == "Webhook-Timestamp" {
			h.Value = "now"
		}
		fmt.Fprintf(&got, "%s: %s\n", h.Name, h.Value)
	}
	const want = `POST https://crm.example.com/hooks/***?***&a=***&key=***
Authorization: Basic ***
Ce-Id: 0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10
Ce-Source: /penstock/clickfunnels
Ce-Specversion: 1.0
Ce-Time: 2026-11-23T11:34:56.789Z
Ce-Type: orders/invoice.paid
Content-Encoding: gzip
Content-Type: application/json
Penstock-Subject: orders.invoice.paid
User-Agent: Penstock/1.2.3
Webhook-Id: 0b9f4a5e-7c1d-4c5e-9a58-0d2f4b6a8c10
Webhook-Signature: ***
Webhook-Timestamp: now
X-Tenant: ***
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("preview (-want +got):\n%s", diff)
	}
	if string(p.Body) != string(e.Body) {
		t.Errorf("the previewed body is %.100q, want the event's", p.Body)
	}
}
