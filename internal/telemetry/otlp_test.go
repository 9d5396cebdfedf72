package telemetry

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP receiver of metrics, over both protocols.
type sink struct {
	collector.UnimplementedMetricsServiceServer
	any chan struct{} // capacity 1: something came

	mu  sync.Mutex
	got []*collector.ExportMetricsServiceRequest
}

func (s *sink) take(r *collector.ExportMetricsServiceRequest) {
	s.mu.Lock()
	s.got = append(s.got, r)
	s.mu.Unlock()
	select {
	case s.any <- struct{}{}:
	default:
	}
}

// taken is what came so far.
func (s *sink) taken() []*collector.ExportMetricsServiceRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// Export implements the service over gRPC.
func (s *sink) Export(_ context.Context, r *collector.ExportMetricsServiceRequest) (*collector.ExportMetricsServiceResponse, error) {
	s.take(r)
	return &collector.ExportMetricsServiceResponse{}, nil
}

// ServeHTTP implements it over HTTP.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportMetricsServiceRequest
	if err != nil || r.URL.Path != "/v1/metrics" || proto.Unmarshal(body, &req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.take(&req)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (s *sink) overGRPC(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	collector.RegisterMetricsServiceServer(srv, s)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func (s *sink) overHTTP(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv.URL
}

// Not parallel: the standard variables are those of the process.
func TestPush(t *testing.T) {
	for name, tt := range map[string]struct {
		protocol string
		serve    func(*sink, *testing.T) string
	}{
		"over gRPC": {"grpc", (*sink).overGRPC},
		"over HTTP": {"", (*sink).overHTTP}, // the default of the standard
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{any: make(chan struct{}, 1)}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", tt.serve(s, t))
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", tt.protocol)
			t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "10")
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
			tel := open(t, Options{Version: "1.2.3", Env: ReadEnv(nil)})
			everything(tel)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- tel.Run(ctx) }()
			<-s.any
			checkPushed(t, s.taken()[0])
			tel.Request("late", "accepted", time.Millisecond, 1)
			stop()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			late := func(r *collector.ExportMetricsServiceRequest) bool { return strings.Contains(r.String(), "late") }
			if !slices.ContainsFunc(s.taken(), late) {
				t.Error("what was counted just before the end was not pushed")
			}
		})
	}
}

// A receiver may want other sums and histograms than /metrics has.
func TestPushAsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		env         map[string]string
		own         bool
		temporality metrics.AggregationTemporality
		exponential bool
	}{
		"as scraped":  {nil, false, metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, false},
		"delta":       {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}, true, metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA, false},
		"exponential": {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}, true, metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.overHTTP(t))
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			tel := open(t, Options{Env: ReadEnv(nil)})
			everything(tel)
			if tel.push.own != tt.own {
				t.Errorf("a reader of its own: %t, want %t", tel.push.own, tt.own)
			}
			if err := tel.push.once(t.Context(), pushTimeout); err != nil {
				t.Fatal(err)
			}
			for _, m := range s.taken()[0].ResourceMetrics[0].ScopeMetrics[0].Metrics {
				if m.Name == requestsTotal.Name && m.GetSum().GetAggregationTemporality() != tt.temporality {
					t.Errorf("%s is %s, want %s", m.Name, m.GetSum().GetAggregationTemporality(), tt.temporality)
				}
				if m.Name == acceptSeconds.Name && (m.GetExponentialHistogram() != nil) != tt.exponential {
					t.Errorf("%s was pushed as %v", m.Name, m)
				}
			}
		})
	}
}

func checkPushed(t *testing.T, r *collector.ExportMetricsServiceRequest) {
	t.Helper()
	resource := r.ResourceMetrics[0].Resource.String()
	for _, want := range []string{"penstock", "1.2.3", "deployment.environment"} {
		if !strings.Contains(resource, want) {
			t.Errorf("the resource is %s, want %s in it", resource, want)
		}
	}
	got := map[string]*metrics.Metric{}
	for _, m := range r.ResourceMetrics[0].ScopeMetrics[0].Metrics {
		got[m.Name] = m
	}
	for _, m := range Metrics() {
		traces := m.Name == spansSentTotal.Name || m.Name == spansLostTotal.Name // are off
		if got[m.Name] == nil && !traces && m.Name != lastEvent.Name {           // no source is configured
			t.Errorf("%s was not pushed", m.Name)
		}
	}
	if m := got[acceptSeconds.Name]; m != nil && (m.Unit != "s" || m.GetHistogram() == nil) {
		t.Errorf("%s was pushed as %v", acceptSeconds.Name, m)
	}
}

func TestPushSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		vars  map[string]string
		sends bool
	}{
		"nothing set":      {nil, false},
		"an endpoint":      {map[string]string{endpointVar: aReceiver}, true},
		"one of metrics":   {map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": aReceiver}, true},
		"by name":          {map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, true},
		"switched off":     {map[string]string{endpointVar: aReceiver, "OTEL_METRICS_EXPORTER": "none"}, false},
		"only scraped":     {map[string]string{endpointVar: aReceiver, "OTEL_METRICS_EXPORTER": "prometheus"}, false},
		"the SDK disabled": {map[string]string{endpointVar: aReceiver, "OTEL_SDK_DISABLED": "true"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel, err := New(Options{Env: env(tt.vars)})
			if err != nil {
				t.Fatal(err)
			}
			if (tel.push != nil) != tt.sends {
				t.Errorf("pushed: %t, want %t", tel.push != nil, tt.sends)
			}
		})
	}
}
