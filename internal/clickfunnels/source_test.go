package clickfunnels

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/event"
)

var arrival = time.Date(2026, 11, 20, 14, 3, 26, 0, time.UTC)

func TestDecode(t *testing.T) {
	t.Parallel()
	const hash = "hash" // stands for the id made of the body
	for name, tt := range map[string]struct {
		body              string
		id, typ, subject  string
		version           int
		prefix, extraRoot string
	}{
		"version 2":                      {body: `{"data":{},"event_id":"A-1","event_type":"orders/invoice.paid","api_version":2}`, id: "A-1", typ: "orders/invoice.paid", subject: "orders.invoice.paid", version: 2},
		"version 1 by its shape":         {body: `{"data":{"id":"1","attributes":{}},"event_id":"a","event_type":"order.created"}`, id: "a", typ: "order.created", subject: "order.created", version: 1},
		"version 2 by its shape":         {body: `{"data":{"id":1},"event_id":"a","event_type":"order.created"}`, id: "a", typ: "order.created", subject: "order.created", version: 2},
		"version stated beats the shape": {body: `{"data":{"attributes":{}},"event_id":"a","event_type":"order.created","api_version":2}`, id: "a", typ: "order.created", subject: "order.created", version: 2},
		"version of a later day":         {body: `{"data":{},"event_id":"a","event_type":"order.created","api_version":3}`, id: "a", typ: "order.created", subject: "order.created", version: 3},
		"version not a number":           {body: `{"data":{},"event_id":"a","event_type":"order.created","api_version":"v2"}`, id: "a", typ: "order.created", subject: "order.created", version: 2},
		"attributes of the last data":    {body: `{"data":{"attributes":{}},"data":{},"event_id":"a","event_type":"order.created"}`, id: "a", typ: "order.created", subject: "order.created", version: 2},
		"no data":                        {body: `{"event_id":"a","event_type":"order.created"}`, id: "a", typ: "order.created", subject: "order.created"},
		"blanks everywhere":              {body: " {\n\t\"event_id\" : \"a\" ,\r\n \"event_type\" : \"order.created\" } \n", id: "a", typ: "order.created", subject: "order.created"},
		"same keys deeper":               {body: `{"data":{"event_id":"x","event_type":{"name":"y"},"api_version":1,"deep":[{"event_id":"z"}]},"event_id":"a","event_type":"order.created"}`, id: "a", typ: "order.created", subject: "order.created", version: 2},
		"last of repeated keys":          {body: `{"event_id":"a","event_type":"x","event_id":"b","event_type":"order.created"}`, id: "b", typ: "order.created", subject: "order.created"},
		"escapes in key and value":       {body: `{"event\u005fid":"\u0061","event_type":"orders\/invoice.p\u0061id"}`, id: "a", typ: "orders/invoice.paid", subject: "orders.invoice.paid"},
		"other spelling":                 {body: `{"event_id":"a","event_type":"form_submission.created"}`, id: "a", typ: "form_submission.created", subject: "form.submission.created"},
		"known root":                     {body: `{"event_id":"a","event_type":"orders/invoice.framed"}`, id: "a", typ: "orders/invoice.framed", subject: "orders.invoice.framed"},
		"unknown root":                   {body: `{"event_id":"a","event_type":"brand/thing.made"}`, id: "a", typ: "brand/thing.made", subject: "unknown.brand.thing.made"},
		"root that was added":            {body: `{"event_id":"a","event_type":"brand/thing.made"}`, id: "a", typ: "brand/thing.made", subject: "brand.thing.made", extraRoot: "brand"},
		"our root":                       {body: `{"event_id":"a","event_type":"penstock.retry.due.crm"}`, id: "a", typ: "penstock.retry.due.crm", subject: "unknown.penstock.retry.due.crm", extraRoot: "penstock"},
		"type named as unknown":          {body: `{"event_id":"a","event_type":"unknown/malformed"}`, id: "a", typ: "unknown/malformed", subject: "unknown.unknown.malformed", extraRoot: "unknown"},
		"wildcards":                      {body: `{"event_id":"a","event_type":"order.*.>"}`, id: "a", typ: "order.*.>", subject: "order.~2A.~3E"},
		"type with a line break":         {body: `{"event_id":"a","event_type":"order.x\r\ny"}`, id: "a", typ: "order.x\r\ny", subject: "order.x~0D~0Ay"},
		"prefix, known type":             {body: `{"event_id":"a","event_type":"contacts/applied_tag.created"}`, id: "a", typ: "contacts/applied_tag.created", subject: "shop.contact.applied_tag.created", prefix: "shop"},
		"prefix, unknown root":           {body: `{"event_id":"a","event_type":"brand/thing.made"}`, id: "a", typ: "brand/thing.made", subject: "shop.unknown.brand.thing.made", prefix: "shop"},
		"prefix, malformed":              {body: `[]`, id: hash, subject: "shop.unknown.malformed", prefix: "shop"},
		"no id":                          {body: `{"event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id null":                        {body: `{"event_id":null,"event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id empty":                       {body: `{"event_id":"","event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id a number":                    {body: `{"event_id":7,"event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id a string, then a number":     {body: `{"event_id":"a","event_id":7,"event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id of 128 bytes":                {body: `{"event_id":"` + strings.Repeat("a", 128) + `","event_type":"order.created"}`, id: strings.Repeat("a", 128), typ: "order.created", subject: "order.created"},
		"id of 129 bytes":                {body: `{"event_id":"` + strings.Repeat("a", 129) + `","event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id with a line break":           {body: `{"event_id":"a\r\nb","event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id with a blank":                {body: `{"event_id":"a b","event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"id beyond ASCII":                {body: `{"event_id":"é","event_type":"order.created"}`, id: hash, typ: "order.created", subject: "order.created"},
		"no type":                        {body: `{"event_id":"a"}`, id: "a", subject: "unknown.malformed"},
		"type empty":                     {body: `{"event_id":"a","event_type":""}`, id: "a", subject: "unknown.malformed"},
		"type an object":                 {body: `{"event_id":"a","event_type":{"name":"x"}}`, id: "a", subject: "unknown.malformed"},
		"type with an empty token":       {body: `{"event_id":"a","event_type":"order..created"}`, id: "a", typ: "order..created", subject: "unknown.malformed"},
		"type too long":                  {body: `{"event_id":"a","event_type":"` + strings.Repeat("a", 201) + `"}`, id: "a", typ: strings.Repeat("a", 201), subject: "unknown.malformed"},
		"record of the events API":       {body: `{"id":1,"uuid":"a","event_type_id":"order.created","data":{}}`, id: hash, subject: "unknown.malformed"},
		"array":                          {body: `[{"event_id":"a","event_type":"order.created"}]`, id: hash, subject: "unknown.malformed"},
		"empty body":                     {body: ``, id: hash, subject: "unknown.malformed"},
		"byte order mark":                {body: "\ufeff" + `{"event_id":"a","event_type":"order.created"}`, id: hash, subject: "unknown.malformed"},
		"cut off":                        {body: `{"event_id":"a","event_type":"order.created","data":{`, id: hash, subject: "unknown.malformed"},
		"something after it":             {body: `{"event_id":"a","event_type":"order.created"}x`, id: hash, subject: "unknown.malformed"},
		"NUL after it":                   {body: `{"event_id":"a","event_type":"order.created"}` + "\x00", id: hash, subject: "unknown.malformed"},
		"a form, not JSON":               {body: `event_id=a&event_type=order.created`, id: hash, subject: "unknown.malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := NewSource(Options{Name: "cf", SubjectPrefix: tt.prefix, ExtraRoots: []string{tt.extraRoot}})
			want := event.Event{ID: tt.id, Type: tt.typ, Source: "cf", Subject: tt.subject,
				APIVersion: tt.version, Received: arrival, Body: []byte(tt.body)}
			if tt.id == hash {
				want.ID = hashID([]byte(tt.body))
			}
			got := s.Decode(nil, []byte(tt.body), arrival)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Decode(%s) (-want +got):\n%s", tt.body, diff)
			}
		})
	}
}

func TestHashID(t *testing.T) {
	t.Parallel()
	// The first half of the published SHA-256 of "abc".
	if got, want := hashID([]byte("abc")), "sha256-ba7816bf8f01cfea414140de5dae2223"; got != want {
		t.Errorf("hashID(abc) = %s, want %s", got, want)
	}
}

func TestDecodeDoesNotCopyTheBody(t *testing.T) {
	t.Parallel()
	body := []byte(`{"event_id":"a","event_type":"order.created"}`)
	if got := NewSource(Options{}).Decode(nil, body, arrival).Body; &got[0] != &body[0] {
		t.Error("Decode copied the body")
	}
}

func TestDecodeHeaders(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tt := range map[string]struct {
		header http.Header
		ct, tp string
	}{
		"none":                        {header: nil},
		"content type":                {header: http.Header{"Content-Type": {"application/json"}}, ct: "application/json"},
		"content type with CRLF":      {header: http.Header{"Content-Type": {"a\r\nNats-Msg-Id: x"}}},
		"content type too long":       {header: http.Header{"Content-Type": {strings.Repeat("a", 129)}}},
		"content type beyond ASCII":   {header: http.Header{"Content-Type": {"é"}}},
		"trace":                       {header: http.Header{"Traceparent": {trace}}, tp: trace},
		"trace of a later version":    {header: http.Header{"Traceparent": {"01" + trace[2:]}}, tp: "01" + trace[2:]},
		"trace of version ff":         {header: http.Header{"Traceparent": {"ff" + trace[2:]}}},
		"trace in upper case":         {header: http.Header{"Traceparent": {strings.ToUpper(trace)}}},
		"trace twice":                 {header: http.Header{"Traceparent": {trace, trace}}},
		"trace with more":             {header: http.Header{"Traceparent": {trace + "-00"}}},
		"trace cut off":               {header: http.Header{"Traceparent": {trace[:54]}}},
		"trace id zero":               {header: http.Header{"Traceparent": {"00-00000000000000000000000000000000-b7ad6b7169203331-01"}}},
		"parent id zero":              {header: http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}}},
		"trace with a wrong hyphen":   {header: http.Header{"Traceparent": {strings.Replace(trace, "-b7", "0b7", 1)}}},
		"trace flags that are no hex": {header: http.Header{"Traceparent": {trace[:54] + "g"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := NewSource(Options{}).Decode(tt.header, []byte(`{}`), arrival)
			if e.ContentType != tt.ct || e.TraceParent != tt.tp {
				t.Errorf("Decode(%v) has content type %q, trace %q, want %q, %q", tt.header, e.ContentType, e.TraceParent, tt.ct, tt.tp)
			}
		})
	}
}

func TestVerifyToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		configured, given string
		want              bool
	}{
		"right":           {"s3cret-path", "s3cret-path", true},
		"wrong":           {"s3cret-path", "s3cret-Path", false},
		"longer":          {"s3cret-path", "s3cret-path2", false},
		"none given":      {"s3cret-path", "", false},
		"none configured": {"", "s3cret-path", false},
		"neither":         {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := NewSource(Options{URLToken: tt.configured}).VerifyToken(tt.given); got != tt.want {
				t.Errorf("VerifyToken(%q) of %q = %t, want %t", tt.given, tt.configured, got, tt.want)
			}
		})
	}
}

// Printing a source, as a log line might, must show no secret.
func TestSourcePrintsNoSecret(t *testing.T) {
	t.Parallel()
	s := NewSource(Options{Name: "cf", Secrets: []string{"sesame"}, URLToken: "hidden"})
	if err := s.Verify(Sign("sesame", arrival, nil), nil, arrival); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		out := fmt.Sprintf(format, s)
		for _, k := range s.keys {
			out += fmt.Sprintf(format, k) + fmt.Sprintf(format, k.pool.Get())
		}
		if strings.Contains(out, "sesame") || strings.Contains(out, "hidden") {
			t.Errorf("%s shows a secret: %s", format, out)
		}
	}
}

// wantFields is what encoding/json makes of a body.
func wantFields(body []byte) (id, eventType string, valid bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields == nil {
		return "", "", false
	}
	asString := func(key string) string {
		var s *string
		if json.Unmarshal(fields[key], &s) != nil || s == nil {
			return ""
		}
		return *s
	}
	return asString("event_id"), asString("event_type"), true
}

func wantVersion(body []byte, stringType bool) int {
	var top struct {
		fields map[string]json.RawMessage
		data   map[string]json.RawMessage
		attrs  map[string]json.RawMessage
	}
	_ = json.Unmarshal(body, &top.fields)
	var n int
	if raw := top.fields["api_version"]; len(raw) > 0 && raw[0] != 'n' && json.Unmarshal(raw, &n) == nil && 0 < n && n < 1000 {
		return n
	}
	dataOK := json.Unmarshal(top.fields["data"], &top.data) == nil && top.data != nil
	attrsOK := json.Unmarshal(top.data["attributes"], &top.attrs) == nil && top.attrs != nil
	switch {
	case dataOK && attrsOK:
		return 1
	case dataOK && stringType:
		return 2
	}
	return 0
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"event_id":"a","event_type":"order.created"}`,
		`{"event_id":"\u0041\ud83d\ude00\ud800","event_type":"x\/y"}`, "{\"event_type\":\"\xff\"}",
		`{"event_id":1e5,"a":[1.5,-0,-0.0e+1,true,false,null,{"event_id":"b"}]}`,
		`{"data":{"attributes":{}},"api_version":null}`, `{"data":{"attributes":{},"attributes":null},"event_type":"a"}`,
		`{"event_id":"a","event_id":null}`, `{"a":01}`, `{"a":"\x"}`, `{"a":"\u00g0"}`, "{\"a\":\"\\u\x10\x11\x12\x13\"}", `{"a" 1}`, `{"a":1,}`, `{,}`, `[1,]`, "\ufeff{}",
		"{\"a\":\"\x1f\"}", `{"api_version":-2}`, `{"api_version":2.0,"data":{},"event_type":""}`, `{"":{}}`, `{"a":tru}`, `{"a":-}`, `{"a":1.}`, `{"a":1e}`,
	} {
		f.Add([]byte(seed))
	}
	s := NewSource(Options{Name: "cf"})
	f.Fuzz(func(t *testing.T, body []byte) {
		e := s.Decode(nil, body, arrival)
		id, eventType, valid := wantFields(body)
		if id == "" || len(id) > maxIDBytes || !printable(id, '!') {
			id = hashID(body)
		}
		if e.ID != id || e.Type != eventType {
			t.Errorf("id %q, type %q, want %q, %q", e.ID, e.Type, id, eventType)
		}
		if !valid && e.Subject != event.Malformed {
			t.Errorf("subject %q of invalid JSON", e.Subject)
		}
		if subject, ok := event.Subject(eventType); (ok && valid) == (e.Subject == event.Malformed) {
			t.Errorf("subject %q of type %q, which makes %q", e.Subject, eventType, subject)
		}
		env, ok := readEnvelope(body)
		if ok != valid {
			t.Errorf("readEnvelope says %t, encoding/json %t", ok, valid)
		}
		if !valid {
			return
		}
		stringType := len(env.eventType) > 0 && env.eventType[0] == '"'
		if want := wantVersion(body, stringType); e.APIVersion != want {
			t.Errorf("API version %d, want %d", e.APIVersion, want)
		}
	})
}

// Nesting is bounded where encoding/json bounds it.
func TestReadEnvelopeDepth(t *testing.T) {
	t.Parallel()
	for _, depth := range []int{1, 2, maxDepth - 1, maxDepth, maxDepth + 1} {
		for name, body := range map[string]string{
			"objects": strings.Repeat(`{"a":`, depth-1) + `{}` + strings.Repeat(`}`, depth-1),
			"arrays":  `{"a":` + strings.Repeat(`[`, depth-1) + `1` + strings.Repeat(`]`, depth-1) + `}`,
		} {
			_, got := readEnvelope([]byte(body))
			if want := json.Valid([]byte(body)); got != want {
				t.Errorf("readEnvelope of %d nested %s = %t, encoding/json says %t", depth, name, got, want)
			}
		}
	}
}

// What stands side by side is not nested.
func TestReadEnvelopeWidth(t *testing.T) {
	t.Parallel()
	for _, item := range []string{`{}`, `[]`, `{"a":1}`, `[1]`} {
		body := `{"a":[` + item + strings.Repeat(","+item, maxDepth) + `]}`
		if _, ok := readEnvelope([]byte(body)); !ok {
			t.Errorf("readEnvelope refuses an array of %d times %s", maxDepth+1, item)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	c := NewCatalog()
	s := NewSource(Options{Name: "cf", Catalog: c})
	for _, typ := range []string{"courses/lesson.created", "contact.identified", "orders/invoice.paid"} {
		body, err := c.Sample(typ, SampleOptions{})
		if err != nil {
			b.Fatal(err)
		}
		h := http.Header{"Content-Type": {"application/json"}}
		b.Run(fmt.Sprintf("%dB", len(body)), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				s.Decode(h, body, arrival)
			}
		})
	}
}
