package console

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write openapi.json and docs/openapi.json anew")

const docsOpenAPI = "../../docs/openapi.json"

// whole is a server with everything that a server can have.
func whole(t *testing.T) *Server {
	t.Helper()
	s, err := New(Options{
		Addr: "127.0.0.1:0", Dead: newLetters(0), Events: &events{}, Rejected: &ring{}, Control: &control{}, Replays: &jobs{},
		Changes: &trail{}, Tails: &feed{}, Rules: comparing(nil), Backup: &fakeMoving{}, Intake: &fakeMoving{}, Reload: &fakeReloader{}, Metrics: http.NotFoundHandler(),
		Sinks:  func(context.Context) ([]SinkStatus, error) { return nil, nil },
		Status: func(context.Context) (Status, error) { return Status{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGeneratedOpenAPI(t *testing.T) {
	t.Parallel()
	g := &generator{comments: readComments(t), schemas: map[string]any{}}
	data, err := json.MarshalIndent(g.document(whole(t).routes()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	for _, file := range []string{"openapi.json", docsOpenAPI} {
		if *update {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(have, data) {
			t.Errorf("%s is not as the routes are (%v); run `make generate`", file, err)
		}
	}
}

// Every address that is served is described, and every one described is served.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	var served []string
	for _, r := range whole(t).newRoutes().Routes() {
		if path, ok := strings.CutPrefix(r.Path, "/api/v1"); ok && r.Method != "echo_route_not_found" && r.Method != http.MethodHead {
			served = append(served, r.Method+" "+documentPath(path))
		}
	}
	var described []string
	for path, methods := range readDocument(t).Paths {
		for method := range methods {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if d := cmp.Diff(served, described); d != "" {
		t.Errorf("routes (-served +described):\n%s", d)
	}
}

// The commands reach the API only through Client, which asks only what is
// described.
func TestClientAsksWhatIsDescribed(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v1")] = true
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(server.Close)
	c, err := NewClient(server.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(c)
	for i := range v.NumMethod() {
		m := v.Method(i)
		args := make([]reflect.Value, m.Type().NumIn())
		for n := range args {
			args[n] = argument(t.Context(), m.Type().In(n))
		}
		for _, out := range m.Call(args) {
			if out.Kind() == reflect.Func { // an iterator
				yield := reflect.MakeFunc(out.Type().In(0), func([]reflect.Value) []reflect.Value { return []reflect.Value{reflect.ValueOf(false)} })
				out.Call([]reflect.Value{yield})
			}
		}
	}
	doc := readDocument(t)
	for what := range asked {
		method, path, _ := strings.Cut(what, " ")
		if doc.operation(method, path) == nil {
			t.Errorf("the client asks %s, which is not described", what)
		}
	}
	if len(asked) < 20 {
		t.Errorf("%d addresses were asked by %d methods: this test misses some", len(asked), v.NumMethod())
	}
}

// argument is something to call a method of Client with.
func argument(ctx context.Context, t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch {
	case t == reflect.TypeFor[context.Context]():
		return reflect.ValueOf(ctx)
	case t.Kind() == reflect.String:
		v.SetString("one")
	case t.Kind() == reflect.Uint64:
		v.SetUint(7)
	}
	return v
}

func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	status, body := serve(t, newLetters(0), nil).ask(t, "GET", "/api/v1/openapi.json", "")
	if status != 200 || body != string(OpenAPI()) {
		t.Errorf("answered %d with %d bytes, want the document", status, len(body))
	}
}

var pathParam = regexp.MustCompile(`:(\w+)`)

// documentPath is a path of Echo as OpenAPI writes it.
func documentPath(path string) string { return pathParam.ReplaceAllString(path, "{$1}") }

// readComments returns the comments of types and fields of this package, by
// Type and Type.Field.
func readComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	flow := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			group, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range group.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				out[s.Name.Name] = flow(group.Doc.Text())
				if fields, ok := s.Type.(*ast.StructType); ok {
					for _, f := range fields.Fields.List {
						for _, name := range f.Names {
							out[s.Name.Name+"."+name.Name] = flow(f.Doc.Text())
						}
					}
				}
			}
			return true
		})
	}
	return out
}

// generator writes the document.
type generator struct {
	comments map[string]string
	schemas  map[string]any
}

type object = map[string]any

// enums are the words that fields may have.
var enums = map[string][]string{
	"TailLine.Kind": TailKinds(), "EventSummary.Outcome": Outcomes(), "EventStory.Outcome": Outcomes(), "Delivery.Outcome": Outcomes(),
	"Change.Result": {"begun", "done", "failed", "refused"}, "Acceptance.Outcome": {"accepted", "duplicate", "refused"},
	"Status.Durability": {"process", "interval", "power"}, "DeadLetter.Class": words(classes),
}

func (g *generator) document(routes []route) object {
	paths := map[string]object{}
	for _, r := range routes {
		path := documentPath(r.path)
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(r.method)] = g.operation(r)
	}
	g.schema(reflect.TypeFor[Problem](), "")
	return object{
		"openapi": "3.1.1",
		"info": object{
			"title": "Penstock admin API", "version": "1",
			"description": "Look at events and what became of them, retry, replay, pause and erase. docs/api.md says how to log in, to page and to follow.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": DefaultServer + "/api/v1", "description": "server.admin"}},
		"security": []any{object{"token": []string{}}, object{}},
		"paths":    paths,
		"components": object{
			"schemas": g.schemas,
			"responses": object{"Problem": object{
				"description": "What is wrong, and what would be right",
				"content":     object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Problem"}}},
			}},
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer",
				"description": "server.admin_token, or one of server.admin_tokens; none while neither is set, which is allowed only on a loopback address",
			}},
		},
	}
}

func (g *generator) operation(r route) object {
	op := object{"operationId": operationID(r), "summary": r.summary, "tags": []string{strings.Split(r.path, "/")[1]}}
	if r.method == http.MethodPost {
		op["description"] = "Wants a token of an operator."
	}
	params := []any{}
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		schema := object{"type": "string"}
		if m[1] == "seq" {
			schema = object{"type": "integer", "minimum": 1}
		}
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": schema})
	}
	for _, p := range r.query {
		params = append(params, queryParam(p))
	}
	if r.streams == sseType {
		params = append(params, object{"name": "Last-Event-ID", "in": "header", "description": "id of the last line that was seen: go on after it", "schema": object{"type": "string"}})
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	content := object{}
	if r.out != nil {
		content["application/json"] = object{"schema": g.schema(reflect.TypeOf(r.out), "")}
	}
	if r.stream != nil {
		content[r.streams] = object{"schema": g.schema(reflect.TypeOf(r.stream), "")}
	}
	// 404 also where a server of fewer roles does not have the address.
	statuses := []string{"400", "401", "403", "404", "429", "500", "503"}
	if r.method == http.MethodPost {
		statuses = append(statuses, "409", "413", "415")
		if r.in != nil {
			op["requestBody"] = object{"required": !r.optional, "content": object{"application/json": object{"schema": g.schema(reflect.TypeOf(r.in), "")}}}
			// We refuse what we do not know; a caller should not.
			g.schemas[reflect.TypeOf(r.in).Name()].(object)["additionalProperties"] = false
		}
	}
	responses := object{"200": object{"description": "OK", "content": content}}
	for _, status := range statuses {
		responses[status] = object{"$ref": "#/components/responses/Problem"}
	}
	if r.wrong != nil {
		responses["422"] = object{"description": "Nothing was changed", "content": object{
			"application/json": object{"schema": g.schema(reflect.TypeOf(r.wrong), "")}}}
	}
	op["responses"] = responses
	return op
}

func queryParam(p param) object {
	schema := object{"type": "string"}
	switch {
	case p.kind == "integer":
		schema = object{"type": "integer", "minimum": 1, "maximum": maxPage}
	case p.words != nil:
		schema["enum"] = p.words
	case p.many:
		schema = object{"type": "array", "items": schema, "maxItems": mostMatches}
	}
	return object{"name": p.name, "in": "query", "description": p.about, "schema": schema}
}

// operationID is listDead for GET /dead, showDead for GET /dead/:seq, and
// retryDead for POST /dead/:seq/retry.
func operationID(r route) string {
	parts := strings.Split(strings.Trim(r.path, "/"), "/")
	what := capital(strings.TrimSuffix(parts[0], ".json"))
	last := parts[len(parts)-1]
	switch {
	case r.method == http.MethodPost && len(parts) == 1:
		return "create" + what
	case r.method == http.MethodPost && len(parts) == 2:
		return last + "Many" + what
	case r.method == http.MethodPost:
		return last + what
	case len(parts) > 1:
		return "show" + what
	}
	return "get" + what
}

func capital(s string) string {
	return string(unicode.ToUpper(rune(s[0]))) + s[1:]
}

// schema is that of a type; structs are referred to by name.
func (g *generator) schema(t reflect.Type, about string) object {
	s := object{}
	switch {
	case t == reflect.TypeFor[time.Time]():
		s["type"], s["format"] = "string", "date-time"
	case t.Kind() == reflect.Pointer:
		return g.schema(t.Elem(), about)
	case t.Kind() == reflect.Struct:
		g.define(t)
		s["$ref"] = "#/components/schemas/" + t.Name()
	case t.Kind() == reflect.Slice:
		s["type"], s["items"] = "array", g.schema(t.Elem(), "")
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Interface:
		s["type"] = "object"
	case t.Kind() == reflect.Map:
		s["type"], s["additionalProperties"] = "object", g.schema(t.Elem(), "")
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case t.Kind() == reflect.Float64:
		s["type"] = "number"
	case t.Kind() == reflect.Uint64:
		s["type"], s["minimum"] = "integer", 0
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		s["type"] = "integer"
	case t.Kind() == reflect.String:
		s["type"] = "string"
	default:
		panic("no schema for " + t.String())
	}
	if about != "" {
		s["description"] = about
	}
	return s
}

// define adds the schema of a struct to the components.
func (g *generator) define(t reflect.Type) {
	if g.schemas[t.Name()] != nil {
		return
	}
	s := object{"type": "object"}
	if about := g.comments[t.Name()]; about != "" {
		s["description"] = about
	}
	g.schemas[t.Name()] = s
	properties, required := object{}, []string{}
	g.fields(t, properties, &required)
	s["properties"] = properties
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
}

func (g *generator) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			g.fields(f.Type, properties, required)
			continue
		}
		key := t.Name() + "." + f.Name
		p := g.schema(f.Type, g.comments[key])
		if words := enums[key]; words != nil {
			p["enum"] = words
		}
		properties[name] = p
		if !strings.HasPrefix(options, "omit") {
			*required = append(*required, name)
		}
	}
}
