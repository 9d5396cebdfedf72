package sinks

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/slack-go/slack"
)

// BenchmarkSlackDeliver and BenchmarkSlackBare post the same message, ours made
// of the event by its template, the other's text being there already and sent
// as slack-go's documentation shows. Compare them with -count, in turn.
func BenchmarkSlackDeliver(b *testing.B) {
	for _, way := range []string{"webhook", "token"} {
		b.Run(way, func(b *testing.B) {
			server := &slackServer{Server: slackBenchServer(b)}
			transport := NewTransport(Guard{})
			b.Cleanup(transport.CloseIdleConnections)
			s := openSink(b, "slack", server.options(way, ""), Deps{HTTP: transport})
			e := paidEvent()
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Deliver(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
			reportEvents(b)
		})
	}
}

func BenchmarkSlackBare(b *testing.B) {
	const text = ":moneybag: *$1,240.50* paid by Ada (ada@example.com) — invoice INV-1 &lt;!channel&gt; &amp; co"
	bench := func(way string, post func(b *testing.B, client *http.Client, url string) error) {
		b.Run(way, func(b *testing.B) {
			server := slackBenchServer(b)
			transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
			b.Cleanup(transport.CloseIdleConnections)
			client := &http.Client{Transport: transport}
			b.ReportAllocs()
			for b.Loop() {
				if err := post(b, client, server.URL); err != nil {
					b.Fatal(err)
				}
			}
			reportEvents(b)
		})
	}
	bench("webhook", func(b *testing.B, client *http.Client, url string) error {
		return slack.PostWebhookCustomHTTPContext(b.Context(), url+slackHookPath, client, &slack.WebhookMessage{Text: text})
	})
	bench("token", func(b *testing.B, client *http.Client, url string) error {
		api := slack.New(slackToken, slack.OptionHTTPClient(client), slack.OptionAPIURL(url+"/api/"))
		_, _, err := api.PostMessageContext(b.Context(), "C1", slack.MsgOptionText(text, false))
		return err
	})
}

func reportEvents(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func slackBenchServer(b *testing.B) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a short read shows as a failed request
		if r.URL.Path == slackHookPath {
			_, _ = io.WriteString(w, "ok")
			return
		}
		_, _ = io.WriteString(w, `{"ok":true,"channel":"C1","ts":"1700000000.000100","message":{"text":"x"}}`)
	}))
	b.Cleanup(server.Close)
	return server
}
