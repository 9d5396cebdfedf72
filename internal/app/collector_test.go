package app

import (
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// spanCollector is an OTLP receiver, over gRPC and over HTTP.
type spanCollector struct {
	collector.UnimplementedTraceServiceServer
	grpc, http string // endpoints

	mu        sync.Mutex
	spans     []*trace.Span
	resources []*resource.Resource
}

func newSpanCollector(t *testing.T) *spanCollector {
	t.Helper()
	c := &spanCollector{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, c)
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		s.Stop()
		served.Wait()
	})
	web := httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(web.Close)
	c.grpc, c.http = "http://"+l.Addr().String(), web.URL
	return c
}

// Export implements the collector's service.
func (c *spanCollector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		c.resources = append(c.resources, of.GetResource())
		for _, scope := range of.GetScopeSpans() {
			c.spans = append(c.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// serve is Export over HTTP.
func (c *spanCollector) serve(w http.ResponseWriter, r *http.Request) {
	var req collector.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer, err := c.Export(r.Context(), &req)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	out, err := proto.Marshal(answer)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// all are the spans that have come, by name in the order of their start.
func (c *spanCollector) all() map[string][]*trace.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string][]*trace.Span{}
	for _, s := range c.spans {
		at := len(out[s.GetName()])
		for at > 0 && out[s.GetName()][at-1].GetStartTimeUnixNano() > s.GetStartTimeUnixNano() {
			at--
		}
		list := append(out[s.GetName()], nil)
		copy(list[at+1:], list[at:])
		list[at] = s
		out[s.GetName()] = list
	}
	return out
}

func (c *spanCollector) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans)
}

// attributes are those of a span or a resource as text.
func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		default:
			out[a.GetKey()] = a.GetValue().String()
		}
	}
	return out
}

// parentOf is a span's context as a traceparent.
func parentOf(s *trace.Span) string {
	return "00-" + hex.EncodeToString(s.GetTraceId()) + "-" + hex.EncodeToString(s.GetSpanId()) + "-01"
}

// linksOf are the contexts that a span links to.
func linksOf(s *trace.Span) []string {
	out := []string{}
	for _, l := range s.GetLinks() {
		out = append(out, "00-"+hex.EncodeToString(l.GetTraceId())+"-"+hex.EncodeToString(l.GetSpanId())+"-01")
	}
	return out
}
