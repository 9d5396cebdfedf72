package console

import (
	"net/http"
	"testing"

	"github.com/penstock/penstock/config"
)

// A process with another role serves /metrics alone, under any name and without
// a token: nothing there is a secret.
func TestMetricsOnly(t *testing.T) {
	t.Parallel()
	for name, tokens := range map[string][]Credential{
		"without a token": nil, "with one": {{Name: "ops", Role: config.AdminOperator, Token: config.NewSecret("sesame")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &letters{}, func(o *Options) {
				*o = Options{Addr: "0.0.0.0:0", Tokens: tokens, Metrics: o.Metrics, MetricsOnly: true}
			})
			for path, want := range map[string]int{"/metrics": http.StatusOK, "/healthz": http.StatusOK, "/readyz": http.StatusOK, "/api/v1/status": http.StatusNotFound, "/": http.StatusNotFound} {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Host = "penstock.example.com"
				if path != "/metrics" && len(tokens) > 0 {
					req.Header.Set("Authorization", "Bearer sesame")
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("GET %s answers %d, want %d", path, resp.StatusCode, want)
				}
			}
		})
	}
}
