package router_test

import (
	"fmt"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/event"
	"github.com/penstock/penstock/router"
)

func ExampleParsePattern() {
	p, err := router.ParsePattern("*.invoice.paid")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Match("orders.invoice.paid"), p.Match("invoice.paid"))

	_, err = router.ParsePattern("orders.>.paid")
	fmt.Println(err)
	// Output:
	// true false
	// pattern "orders.>.paid": token 2 is ">", which may only be the last; use "*" for exactly one token
}

func ExampleCompile() {
	table, err := router.Compile(&config.Config{
		Sinks: []config.Sink{{Name: "crm"}, {Name: "lake"}},
		Routes: []config.Route{
			{Name: "paid", Match: []config.Ref{{Name: "*.invoice.paid"}}, To: []config.Ref{{Name: "crm"}}},
			{Name: "archive", Match: []config.Ref{{Name: ">"}}, To: []config.Ref{{Name: "lake"}, {Name: "crm"}}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range table.Sinks(&event.Event{Subject: "orders.invoice.paid"}) {
		fmt.Println(d.Sink, "by", d.Route)
	}
	// Output:
	// crm by paid
	// lake by archive
}
