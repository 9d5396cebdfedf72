package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/penstock/penstock/internal/console"
)

// described is the OpenAPI document, to validate what a real server answers.
type described struct {
	Paths    map[string]map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
}

var theDescription = sync.OnceValues(func() (*described, error) {
	d := &described{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(console.OpenAPI(), d); err != nil {
		return nil, err
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(console.OpenAPI()))
	if err != nil {
		return nil, err
	}
	// More than is described is a mistake here, though callers have to bear it.
	schemas, _ := raw.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, s := range schemas {
		s.(map[string]any)["additionalProperties"] = false
	}
	return d, d.compiler.AddResource("openapi.json", raw)
})

// RoundTrip implements http.RoundTripper: it makes the request, and an error of
// an answer of JSON that is not as it is described.
func (d *described) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if err := d.check(r, body); err != nil {
		return nil, fmt.Errorf("the answer of %s %s is not as it is described: %w\n%s", r.Method, r.URL.Path, err, body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

func (d *described) check(r *http.Request, body []byte) error {
	path, method := d.find(strings.TrimPrefix(r.URL.Path, "/api/v1"), strings.ToLower(r.Method)), strings.ToLower(r.Method)
	escaped := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(path)
	d.mu.Lock()
	schema, err := d.compiler.Compile("openapi.json#/paths/" + escaped + "/" + method + "/responses/200/content/application~1json/schema")
	d.mu.Unlock()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

var template = regexp.MustCompile(`\{\w+\}`)

func (d *described) find(path, method string) string {
	if d.Paths[path][method] != nil {
		return path
	}
	for p, methods := range d.Paths {
		if methods[method] != nil && regexp.MustCompile("^"+template.ReplaceAllString(p, "[^/]+")+"$").MatchString(path) {
			return p
		}
	}
	return path
}

// describedClient is for clients in tests.
func describedClient(t *testing.T) *http.Client {
	t.Helper()
	d, err := theDescription()
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: d}
}
