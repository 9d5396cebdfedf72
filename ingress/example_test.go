package ingress_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
)

func ExampleNew() {
	s, err := ingress.New(ingress.Options{
		Server: config.Server{
			Listen:           "127.0.0.1:8080",
			MaxBody:          1 << 20,
			MaxInFlight:      512,
			MaxInFlightBytes: 64 << 20,
			ShutdownTimeout:  20 * time.Second,
		},
		Sources: []ingress.Endpoint{
			{Name: "shop", Path: "/webhooks/shop", Source: fakeSource{}, Signed: true, Sender: "the shop"},
		},
		Publisher: &fakePublisher{},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A program would call s.Run(ctx) now.
	r := httptest.NewRequest("POST", "/webhooks/shop", strings.NewReader(`{"event_id":"ev-1"}`))
	r.Header.Set("X-Signature", "good")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 202 {"id":"ev-1","subject":"orders.invoice.paid","seq":42,"duplicate":false}
}
