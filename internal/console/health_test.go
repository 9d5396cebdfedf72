package console

import "testing"

func TestReadinessHasReasons(t *testing.T) {
	t.Parallel()
	var reasons []string
	s := serve(t, newLetters(0), func(o *Options) { o.Ready = func() []string { return reasons } })
	for _, step := range []struct {
		reasons []string
		path    string
		status  int
		body    string
	}{
		{nil, "/readyz", 200, `{"status":"ok"}`},
		{[]string{"not connected to NATS"}, "/readyz", 503, `{"status":"unavailable","reasons":["not connected to NATS"]}`},
		{[]string{"not connected to NATS"}, "/healthz", 200, `{"status":"ok"}`},
	} {
		reasons = step.reasons
		if status, body := s.ask(t, "GET", step.path, ""); status != step.status || body != step.body+"\n" {
			t.Errorf("GET %s answered %d %q, want %d %q", step.path, status, body, step.status, step.body)
		}
	}
}
