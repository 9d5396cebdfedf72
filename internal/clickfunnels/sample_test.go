package clickfunnels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Every template is what its own event type says, and goes through a source
// untouched, as it stands and in the sender's form.
func TestTemplates(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(samples, "samples/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d templates, %v", len(files), err)
	}
	s := NewSource(Options{Name: "cf", Secrets: []string{"sesame"}})
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			pretty, err := samples.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			wire, err := wireForm(pretty)
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range [][]byte{pretty, wire} {
				roundTrip(t, s, body)
			}
			checkJSONBOrder(t, wire)
		})
	}
}

// roundTrip signs, verifies and decodes body and compares with encoding/json.
func roundTrip(t *testing.T, s *Source, body []byte) {
	t.Helper()
	before := bytes.Clone(body)
	if err := s.Verify(Sign("sesame", arrival, body), body, arrival); err != nil {
		t.Errorf("Verify = %v, want nil", err)
	}
	e := s.Decode(nil, body, arrival)
	var want struct {
		ID         string          `json:"event_id"`
		Type       string          `json:"event_type"`
		Version    int             `json:"api_version"`
		SubjectID  int64           `json:"subject_id"`
		SubjectTyp string          `json:"subject_type"`
		Data       json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &want); err != nil {
		t.Fatal(err)
	}
	if want.Version == 0 {
		want.Version = 1
	}
	if e.ID != want.ID || e.Type != want.Type || e.APIVersion != want.Version {
		t.Errorf("Decode has id %q, type %q, version %d, want %q, %q, %d", e.ID, e.Type, e.APIVersion, want.ID, want.Type, want.Version)
	}
	if !bytes.Equal(before, e.Body) {
		t.Error("the body's bytes changed")
	}
	if want.SubjectID == 0 || want.SubjectTyp == "" || len(want.Data) == 0 {
		t.Errorf("the envelope is incomplete: %s", body)
	}
	if id := strings.Trim(string(valueAt(body, "data", "id")), `"`); id != fmt.Sprint(want.SubjectID) {
		t.Errorf("data.id is %s, subject_id %d", id, want.SubjectID)
	}
}

// checkJSONBOrder walks body and wants the keys of every object in the order
// of PostgreSQL's jsonb.
func checkJSONBOrder(t *testing.T, body []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	var walk func(token json.Token)
	walk = func(token json.Token) {
		last := ""
		for d.More() && (token == json.Delim('{') || token == json.Delim('[')) {
			next, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			if key, ok := next.(string); ok && token == json.Delim('{') {
				if last != "" && !jsonbLess(last, key) {
					t.Errorf("key %q comes after %q", key, last)
				}
				last = key
				if next, err = d.Token(); err != nil {
					t.Fatal(err)
				}
			}
			if delim, ok := next.(json.Delim); ok {
				walk(delim)
			}
		}
		if _, err := d.Token(); err != nil {
			t.Fatal(err)
		}
	}
	first, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	walk(first)
}

// Every type of the catalogue has a sample in every version it is sent in.
func TestSampleOfEveryType(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	s := NewSource(Options{Name: "cf", Secrets: []string{"sesame"}, Catalog: c})
	for _, e := range c.Entries() {
		for _, version := range e.Versions {
			t.Run(fmt.Sprintf("%s V%d", e.Type, version), func(t *testing.T) {
				t.Parallel()
				body, err := c.Sample(e.Type, SampleOptions{Version: version})
				if err != nil {
					t.Fatal(err)
				}
				roundTrip(t, s, body)
				if version == 2 {
					checkJSONBOrder(t, body)
				}
				got := s.Decode(nil, body, arrival)
				if got.Type != e.Type || got.Subject != e.Subject || got.APIVersion != version {
					t.Errorf("sample has type %q, subject %q, version %d, want %q, %q, %d",
						got.Type, got.Subject, got.APIVersion, e.Type, e.Subject, version)
				}
				if bytes.Contains(body, []byte("Made-up thing")) {
					t.Error("the resource has no template of its own")
				}
				if bytes.ContainsAny(body, "<>&\n") {
					t.Errorf("not in the sender's form: %s", body)
				}
			})
		}
	}
}

func TestSampleIsTheVectorsBody(t *testing.T) {
	t.Parallel()
	v := readVector(t)
	got, err := NewCatalog().Sample("contact.identified", SampleOptions{ID: "6a1c1d2e-0f7b-4e51-9d55-1b1a3f6f2c01"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v.Body, string(got)); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
}

func TestSampleV1(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	got, err := c.Sample("orders/transaction.created", SampleOptions{Version: 1, ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"data":{"id":"665001","type":"transaction","attributes":{"id":665001,"arn":null,"amount":"98.00","reason":null,` +
		`"result":"approved","status":"completed","currency":"USD","order_id":998301,"is_rebill":false,"public_id":"TrNsAa",` +
		`"created_at":"2026-11-20T14:03:22.517Z","updated_at":"2026-11-20T14:03:22.517Z","external_id":"txn_01JCQ9Z3",` +
		`"external_type":"sale","rebill_number":0,"adjusted_transaction_id":null,"billing_payment_instruction_id":1333009,` +
		`"billing_payment_instruction_type":"Billing::PaymentMethod"}},"event_id":"a","event_type":"orders/transaction.created",` +
		`"subject_id":665001,"subject_type":"Orders::Transaction"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("sample in V1 (-want +got):\n%s", diff)
	}
	got, err = c.Sample("runs/step.dontrunme", SampleOptions{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"subject_type": `"Runs::Step"`, "data.type": `"step"`} {
		if have := valueAt(got, strings.Split(path, ".")...); string(have) != want {
			t.Errorf("%s of a workflow step is %s, want %s", path, have, want)
		}
	}
}

func TestSampleOptions(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	now := time.Date(2027, 3, 1, 9, 0, 0, 4e6, time.FixedZone("", 3600))
	set := func(pairs ...string) (as []Assignment) {
		for i := 0; i < len(pairs); i += 2 {
			as = append(as, Assignment{pairs[i], pairs[i+1]})
		}
		return as
	}
	for name, tt := range map[string]struct {
		typ     string
		options SampleOptions
		path    string
		want    string
	}{
		"subject for a type":        {"orders.invoice.paid", SampleOptions{}, "event_type", `"orders/invoice.paid"`},
		"subject of two spellings":  {"form.submission.created", SampleOptions{}, "event_type", `"form/submission.created"`},
		"spelling on the wire":      {"form_submission.created", SampleOptions{}, "event_type", `"form_submission.created"`},
		"id":                        {"order.created", SampleOptions{ID: `a"b`}, "event_id", `"a\"b"`},
		"highest version":           {"order.created", SampleOptions{}, "api_version", `2`},
		"change of the type":        {"subscription.canceled", SampleOptions{}, "data.service_status", `"canceled"`},
		"change of the resource":    {"subscription.canceled", SampleOptions{}, "data.order_type", `"subscription"`},
		"change in version 1":       {"subscription.canceled", SampleOptions{Version: 1}, "data.attributes.order_type", `"subscription"`},
		"change of an alias":        {"subscription.invoice.paid", SampleOptions{}, "data.order.order_type", `"subscription"`},
		"latest time is now":        {"order.created", SampleOptions{Now: now}, "created_at", `"2027-03-01T08:00:00.004Z"`},
		"others keep the distance":  {"order.created", SampleOptions{Now: now}, "data.created_at", `"2027-03-01T07:59:57.517Z"`},
		"set a number":              {"order.created", SampleOptions{Set: set("subject_id", "7")}, "subject_id", `7`},
		"set a string":              {"order.created", SampleOptions{Set: set("data.currency", "EUR")}, "data.currency", `"EUR"`},
		"set a quoted number":       {"order.created", SampleOptions{Set: set("data.total_amount", `"98"`)}, "data.total_amount", `"98"`},
		"set within an array":       {"order.created", SampleOptions{Set: set("data.line_items.0.quantity", "5")}, "data.line_items.0.quantity", `5`},
		"append to an array":        {"order.created", SampleOptions{Set: set("data.line_items.1.quantity", "5")}, "data.line_items.1", `{"quantity":5}`},
		"append to an empty array":  {"order.created", SampleOptions{Set: set("data.tag_ids.0", "5")}, "data.tag_ids", `[5]`},
		"new key":                   {"order.created", SampleOptions{Set: set("data.colour", "red")}, "data.colour", `"red"`},
		"new key in a new object":   {"order.created", SampleOptions{Set: set("data.a.b", "1")}, "data.a", `{"b":1}`},
		"object in place of null":   {"order.created", SampleOptions{Set: set("data.affiliate.name", "Bo")}, "data.affiliate", `{"name":"Bo"}`},
		"later assignments win":     {"order.created", SampleOptions{Set: set("subject_id", "7", "subject_id", "8")}, "subject_id", `8`},
		"set writes as the sender":  {"order.created", SampleOptions{Set: set("data.notes", "a & b")}, "data.notes", `"a \u0026 b"`},
		"unknown type by force":     {"brand/thing.made", SampleOptions{Force: true}, "event_type", `"brand/thing.made"`},
		"unknown type in version 1": {"brand/thing.made", SampleOptions{Force: true, Version: 1}, "data.type", `"thing"`},
		"version by force":          {"course.created", SampleOptions{Force: true, Version: 1}, "data.type", `"course"`},
		"later version by force":    {"runs/step.dontrunme", SampleOptions{Force: true, Version: 2}, "api_version", `2`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := c.Sample(tt.typ, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if !json.Valid(body) {
				t.Fatalf("not valid JSON: %s", body)
			}
			if got := string(valueAt(body, strings.Split(tt.path, ".")...)); got != tt.want {
				t.Errorf("%s is %s, want %s", tt.path, got, tt.want)
			}
		})
	}
}

// Without an id, a sample's id depends on type, version and time alone.
func TestSampleMakesItsID(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	id := func(typ string, o SampleOptions) string {
		body, err := c.Sample(typ, o)
		if err != nil {
			t.Fatal(err)
		}
		return NewSource(Options{Catalog: c}).Decode(nil, body, arrival).ID
	}
	first := id("order.created", SampleOptions{Now: arrival})
	if again := id("order.created", SampleOptions{Now: arrival}); again != first {
		t.Errorf("the same sample has ids %s and %s", first, again)
	}
	for name, other := range map[string]string{
		"type":    id("order.updated", SampleOptions{Now: arrival}),
		"version": id("order.created", SampleOptions{Now: arrival, Version: 1}),
		"time":    id("order.created", SampleOptions{Now: arrival.Add(1)}),
	} {
		if other == first {
			t.Errorf("another %s has the same id %s", name, first)
		}
	}
}

func TestSampleErrors(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	for name, tt := range map[string]struct {
		typ     string
		options SampleOptions
		want    string
	}{
		"unknown, with a suggestion":    {"order.invoice.paid", SampleOptions{}, `event type "order.invoice.paid" is not in the catalogue; did you mean orders.invoice.paid?`},
		"unknown, nothing near":         {"zebra", SampleOptions{}, `event type "zebra" is not in the catalogue`},
		"version it is not sent in":     {"course.created", SampleOptions{Version: 1}, `course.created is not sent in API version 1, only in 2`},
		"version that does not exist":   {"course.created", SampleOptions{Version: 3, Force: true}, `API version 3 does not exist; 1 and 2 do`},
		"path into a number":            {"course.created", SampleOptions{Set: []Assignment{{"subject_id.x", "1"}}}, `make sample of course.created: set subject_id.x: subject_id is neither an object nor an array`},
		"index that is no number":       {"order.created", SampleOptions{Set: []Assignment{{"data.line_items.first.x", "1"}}}, `make sample of order.created: set data.line_items.first.x: "first" is not an index into an array`},
		"index beyond the array's end":  {"order.created", SampleOptions{Set: []Assignment{{"data.line_items.9.x", "1"}}}, `make sample of order.created: set data.line_items.9.x: index 9 is beyond the array's 1 elements`},
		"index below the array's begin": {"order.created", SampleOptions{Set: []Assignment{{"data.line_items.-1", "1"}}}, `make sample of order.created: set data.line_items.-1: "-1" is not an index into an array`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.Sample(tt.typ, tt.options)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Sample = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestParseAssignment(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Assignment{
		"data.total_amount=98": {"data.total_amount", "98"},
		"a=b=c":                {"a", "b=c"},
		"a=":                   {"a", ""},
	} {
		if got, err := ParseAssignment(in); err != nil || got != want {
			t.Errorf("ParseAssignment(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "a", "=b"} {
		if got, err := ParseAssignment(in); err == nil {
			t.Errorf("ParseAssignment(%q) = %+v, want an error", in, got)
		}
	}
}

// Assignments change one value and nothing beside it, also in JSON with blanks.
func TestApply(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ body, path, value, want string }{
		"replace":                    {`{ "a" : 1 , "b" : [ 2 , 3 ] }`, "b.1", "4", `{ "a" : 1 , "b" : [ 2 , 4 ] }`},
		"first key":                  {`{"b":1}`, "a", "0", `{"a":0,"b":1}`},
		"key in the middle":          {`{"a":1,"cc":2}`, "b", "0", `{"a":1,"b":0,"cc":2}`},
		"last key":                   {`{"a":1}`, "b", "0", `{"a":1,"b":0}`},
		"last key, blanks":           {`{ "a":1 }`, "b", "0", `{ "a":1 ,"b":0}`},
		"only key":                   {`{}`, "b", "0", `{"b":0}`},
		"only key, blanks":           {`{ }`, "b", "0", `{ "b":0}`},
		"only element":               {`{"a":[]}`, "a.0", "0", `{"a":[0]}`},
		"next element":               {`{"a":[{"b":"]"}]}`, "a.1", "0", `{"a":[{"b":"]"},0]}`},
		"object that ends in braces": {`{"a":{"b":"{"}}`, "c", "0", `{"a":{"b":"{"},"c":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Assignment{tt.path, tt.value}.apply([]byte(tt.body))
			if err != nil || string(got) != tt.want {
				t.Errorf("apply %s=%s to %s = %s, %v, want %s", tt.path, tt.value, tt.body, got, err, tt.want)
			}
		})
	}
}
