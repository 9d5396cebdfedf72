package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is what these tests read of openapi.json.
type document struct {
	Paths map[string]map[string]struct {
		Responses map[string]struct {
			Ref     string `json:"$ref"`
			Content map[string]any
		}
	}
	compiler *jsonschema.Compiler
	mu       sync.Mutex
}

const documentURL = "openapi.json"

// theDocument is read once: every answer of these tests is checked with it.
var theDocument = sync.OnceValues(func() (*document, error) {
	d := &document{compiler: jsonschema.NewCompiler()}
	if err := json.Unmarshal(OpenAPI(), d); err != nil {
		return nil, err
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(OpenAPI()))
	if err != nil {
		return nil, err
	}
	d.compiler.AssertFormat()
	// More than is described is a mistake here, though callers have to bear it.
	schemas, _ := raw.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, s := range schemas {
		s.(map[string]any)["additionalProperties"] = false
	}
	return d, d.compiler.AddResource(documentURL, raw)
})

func readDocument(t *testing.T) *document {
	t.Helper()
	d, err := theDocument()
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	return d
}

// operation is where the schema of an answer is looked up: the path of the
// document and whether there is one.
type operation struct{ path, method string }

var inBraces = regexp.MustCompile(`\{\w+\}`)

// operation finds what describes a request; a literal path comes first.
func (d *document) operation(method, path string) *operation {
	method = strings.ToLower(method)
	if _, ok := d.Paths[path][method]; ok {
		return &operation{path, method}
	}
	for template, methods := range d.Paths {
		if _, ok := methods[method]; ok && regexp.MustCompile("^"+inBraces.ReplaceAllString(template, "[^/]+")+"$").MatchString(path) {
			return &operation{template, method}
		}
	}
	return nil
}

// check says what about an answer is not as it is described.
func (d *document) check(op *operation, status int, contentType string, body []byte) error {
	described, ok := d.Paths[op.path][op.method].Responses[fmt.Sprint(status)]
	if !ok {
		return fmt.Errorf("status %d is not described", status)
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	at := fmt.Sprintf("#/paths/%s/%s/responses/%d", pointer(op.path), op.method, status)
	if described.Ref != "" {
		at = described.Ref
	} else if _, ok := described.Content[media]; !ok {
		return fmt.Errorf("media type %s is not described", media)
	}
	d.mu.Lock()
	schema, err := d.compiler.Compile(documentURL + at + "/content/" + pointer(media) + "/schema")
	d.mu.Unlock()
	if err != nil {
		return err
	}
	for _, part := range parts(media, body) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(part))
		if err != nil {
			return err
		}
		if err := schema.Validate(value); err != nil {
			return err
		}
	}
	return nil
}

// parts are the JSON values of an answer.
func parts(media string, body []byte) [][]byte {
	switch media {
	case linesType:
		return bytes.Split(bytes.TrimSpace(body), []byte("\n"))
	case bytesType: // no JSON
		return nil
	case sseType:
		var out [][]byte
		for line := range bytes.Lines(body) {
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
				out = append(out, data)
			}
		}
		return out
	}
	return [][]byte{body}
}

func pointer(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "~", "~0"), "/", "~1")
	return strings.NewReplacer("{", "%7B", "}", "%7D").Replace(s)
}

// describedTransport fails the test for an answer that is not as it is described.
type describedTransport struct{ t *testing.T }

// RoundTrip implements http.RoundTripper.
func (d describedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	path, ours := strings.CutPrefix(r.URL.Path, "/api/v1")
	if err != nil || !ours {
		return resp, err
	}
	doc, err := theDocument()
	if err != nil {
		return nil, err
	}
	resp.Body = &describedBody{ReadCloser: resp.Body, check: func(body []byte) {
		switch op := doc.operation(r.Method, path); {
		case op == nil && resp.StatusCode == http.StatusOK:
			d.t.Errorf("%s %s answers, and is not described", r.Method, path)
		case op != nil:
			if err := doc.check(op, resp.StatusCode, resp.Header.Get("Content-Type"), body); err != nil {
				d.t.Errorf("%s %s answered %d, which is not as described: %v\n%.500s", r.Method, path, resp.StatusCode, err, body)
			}
		}
	}}
	return resp, nil
}

// describedBody looks at what was read when it is closed.
type describedBody struct {
	io.ReadCloser
	read  bytes.Buffer
	whole bool
	check func([]byte)
}

func (b *describedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Write(p[:n])
	b.whole = b.whole || err == io.EOF
	return n, err
}

// Close implements io.Closer. What was not read to its end is not looked at.
func (b *describedBody) Close() error {
	if b.whole {
		b.check(b.read.Bytes())
	}
	return b.ReadCloser.Close()
}
