package telemetry_test

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/telemetry"
)

func Example() {
	t, err := telemetry.New(telemetry.Options{Version: "1.0.0"})
	if err != nil {
		panic(err)
	}
	t.Request("clickfunnels", "accepted", 2*time.Millisecond, 900)

	answer := httptest.NewRecorder()
	t.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(answer.Body.String()) {
		if strings.HasPrefix(line, "penstock_requests_total") {
			fmt.Print(line)
		}
	}
	// Output: penstock_requests_total{outcome="accepted",source="clickfunnels"} 1
}
