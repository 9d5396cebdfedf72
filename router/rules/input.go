package rules

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/penstock/penstock/internal/event"
)

// Input is an event as expressions see it. It decodes the body when the first
// expression looks at it, and only once. It is not safe for concurrent use.
type Input struct {
	event *event.Event
	now   time.Time
	meter meter

	decoded bool
	body    any
	data    any
	err     error
}

var _ cel.Activation = (*Input)(nil)

// NewInput returns the input of an event, which must not change while it is
// used. The variable now is the time given.
func NewInput(e *event.Event, now time.Time) *Input { return &Input{event: e, now: now} }

// Parent implements cel.Activation.
func (in *Input) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	switch name {
	case meterName:
		return &in.meter, true
	case "event.id":
		return types.String(in.event.ID), true
	case "event.type":
		return types.String(in.event.Type), true
	case "event.subject":
		return types.String(in.event.Subject), true
	case "event.source":
		return types.String(in.event.Source), true
	case "event.api_version":
		return types.Int(in.event.APIVersion), true
	case "event.received":
		return types.Timestamp{Time: in.event.Received}, true
	case varHeaders:
		return in.headers(), true
	case varNow:
		return types.Timestamp{Time: in.now}, true
	case varBody:
		return in.part(func() any { return in.body }), true
	case varData:
		return in.part(func() any { return in.data }), true
	}
	return nil, false
}

// headers are what is kept of the request's. Names are in lower case.
func (in *Input) headers() map[string]string {
	h := map[string]string{"content-type": in.event.ContentType}
	if in.event.ContentType == "" {
		h["content-type"] = "application/json"
	}
	if in.event.TraceParent != "" {
		h["traceparent"] = in.event.TraceParent
	}
	return h
}

// part returns something of the body, or the error of reading it.
func (in *Input) part(get func() any) any {
	if !in.decoded {
		in.decoded = true
		in.decode()
	}
	if in.err != nil {
		return types.WrapErr(in.err)
	}
	return get()
}

// decode reads the body. Without an object data in it, data is empty, so that
// has(data.x) is false.
func (in *Input) decode() {
	in.data = map[string]any{}
	if in.body, in.err = decodeJSON(in.event.Body); in.err != nil {
		return
	}
	if object, ok := in.body.(map[string]any); ok && object[varData] != nil {
		in.data = object[varData]
	}
}

// adapter turns the values of a decoded body into CEL's: whole numbers that
// fit are exact, all others are doubles.
type adapter struct{}

// NativeToValue implements types.Adapter.
func (a adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case ref.Val:
		return v
	case string:
		return types.String(v)
	case json.Number:
		return number(string(v))
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case bool:
		return types.Bool(v)
	case nil:
		return types.NullValue
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// maxNumber bounds a number, in characters: it is read each time that it is
// looked at.
const maxNumber = 400

func number(s string) ref.Val {
	if len(s) > maxNumber {
		return types.NewErr("the number %s is too long", short(s[:maxNumber]))
	}
	if strings.ContainsAny(s, ".eE") {
		return double(s)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return types.Int(n)
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return types.Uint(n)
	}
	return double(s)
}

func double(s string) ref.Val {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return types.NewErr("the number %s is out of range", short(s))
	}
	return types.Double(f)
}
