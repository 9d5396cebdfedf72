package sinks_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/sinks"
)

func ExampleOpen() {
	s, err := sinks.Open(config.Sink{Name: "screen", Kind: "log"}, sinks.Deps{Stdout: os.Stdout})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = s.Deliver(context.Background(), event.Event{
		ID:       "7",
		Type:     "orders/invoice.paid",
		Subject:  "orders.invoice.paid",
		Source:   "clickfunnels",
		Received: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC),
		Body:     []byte(`{"total":"99.00"}`),
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"time":"2026-11-23T12:00:00Z","sink":"screen","seq":0,"id":"7","type":"orders/invoice.paid","subject":"orders.invoice.paid","source":"clickfunnels","bytes":17,"body":{"total":"99.00"}}
}

func ExampleCheck() {
	options, err := config.NodeFrom("penstock.yaml", "url: crm.example.com/hooks\nmethod: GET")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sinks.Check(config.Sink{Name: "crm", Kind: "http", Options: options}))
	// Output:
	// penstock.yaml:1:6: url: must begin with http:// or https://; write it as https://crm.example.com/hooks
	// penstock.yaml:2:9: method: must be one of POST, PUT, PATCH, got "GET"
}
