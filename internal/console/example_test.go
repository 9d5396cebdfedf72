package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/penstock/penstock/internal/console"
)

func ExampleClient_DeadAll() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"items":[{"seq":7,"sink":"crm","class":"rejected","event":{"id":"evt-1"}}]}`)
	}))
	defer server.Close()

	client, err := console.NewClient(server.URL, "", nil)
	if err != nil {
		panic(err)
	}
	for d, err := range client.DeadAll(context.Background(), console.DeadQuery{Sink: "crm", Since: "24h"}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(d.Seq, d.Sink, d.Class, d.Event.ID)
	}
	// Output: 7 crm rejected evt-1
}
