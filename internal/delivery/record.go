package delivery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrNoEvent says: the stream has no event with that sequence (any more).
var ErrNoEvent = errors.New("no such event")

// MaxRecordResponse is how much of a failing answer a record keeps, in bytes.
const MaxRecordResponse = 1 << 10

// RecordKind says what a record tells of.
type RecordKind string

// The kinds of records.
const (
	// Attempted: an attempt and its verdict; or, without a Start, a verdict
	// without an attempt (Skip).
	Attempted RecordKind = ""
	// Erased: a person had the event removed from every stream.
	Erased RecordKind = "erased"
)

// Record is one line of an event's history. It holds no body of an event and
// no secret.
type Record struct {
	Kind RecordKind
	// Seq is the event's sequence, EventID its id (empty when Erased).
	Seq              uint64
	EventID, Subject string
	Sink             string
	// Number counts the attempts of this delivery from 1. A throttled attempt
	// does not count, so the next has the same number.
	Number     int
	Generation int
	Lane       Lane
	// Origin is History.Origin.
	Origin string
	// Route decided that the sink gets the event, or Default did, under the
	// rules that Rules names.
	Route   string
	Default bool
	Rules   string
	// Start is when the attempt began and Took how long it took.
	Start   time.Time
	Took    time.Duration
	Timings Timings
	// Action is the verdict, Next when the next attempt is due, with Again.
	Action Action
	Next   time.Time
	Class  Class
	Status int
	// Error says what went wrong, in one line.
	Error string
	// Response is the start of a failing answer's body.
	Response []byte
}

// wireRecord is a Record as JSON: short keys, times in microseconds. Seq comes
// first, so that a reader can find the lines of one event without decoding.
type wireRecord struct {
	Seq        uint64     `json:"q"`
	Kind       RecordKind `json:"k"`
	ID         string     `json:"i"`
	Subject    string     `json:"j"`
	Number     int        `json:"n"`
	Generation int        `json:"g"`
	Lane       Lane       `json:"l"`
	Origin     string     `json:"o"`
	Route      string     `json:"r"`
	Default    int        `json:"d"`
	Rules      string     `json:"v"`
	Start      int64      `json:"t"`
	Took       int64      `json:"p"`
	DNS        int64      `json:"td"`
	Connect    int64      `json:"tc"`
	TLS        int64      `json:"ts"`
	FirstByte  int64      `json:"tb"`
	Action     int        `json:"a"`
	Next       int64      `json:"x"`
	Class      Class      `json:"c"`
	Status     int        `json:"s"`
	Error      string     `json:"e"`
	Response   []byte     `json:"b"`
}

// AppendRecord appends r as one line. Its sink is not written: records lie on
// a subject of their sink. It does not keep r.
func AppendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, `{"q":`...)
	dst = strconv.AppendUint(dst, r.Seq, 10)
	dst = append(dst, `,"a":`...)
	dst = strconv.AppendInt(dst, int64(r.Action), 10)
	dst = appendText(dst, `,"k":`, string(r.Kind))
	dst = appendText(dst, `,"i":`, r.EventID)
	dst = appendText(dst, `,"j":`, r.Subject)
	dst = appendNumber(dst, `,"n":`, int64(r.Number))
	dst = appendNumber(dst, `,"g":`, int64(r.Generation))
	dst = appendText(dst, `,"l":`, string(r.Lane))
	dst = appendText(dst, `,"o":`, r.Origin)
	dst = appendText(dst, `,"r":`, r.Route)
	if r.Default {
		dst = append(dst, `,"d":1`...)
	}
	dst = appendText(dst, `,"v":`, r.Rules)
	dst = appendTime(dst, `,"t":`, r.Start)
	dst = appendNumber(dst, `,"p":`, r.Took.Microseconds())
	dst = appendNumber(dst, `,"td":`, r.Timings.DNS.Microseconds())
	dst = appendNumber(dst, `,"tc":`, r.Timings.Connect.Microseconds())
	dst = appendNumber(dst, `,"ts":`, r.Timings.TLS.Microseconds())
	dst = appendNumber(dst, `,"tb":`, r.Timings.FirstByte.Microseconds())
	dst = appendTime(dst, `,"x":`, r.Next)
	dst = appendText(dst, `,"c":`, string(r.Class))
	dst = appendNumber(dst, `,"s":`, int64(r.Status))
	dst = appendText(dst, `,"e":`, r.Error)
	if len(r.Response) > 0 {
		dst = append(dst, `,"b":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, r.Response[:min(len(r.Response), MaxRecordResponse)])
		dst = append(dst, '"')
	}
	return append(dst, '}', '\n')
}

// RecordPrefix is how the line of every record of the event begins.
func RecordPrefix(seq uint64) []byte {
	return append(strconv.AppendUint([]byte(`{"q":`), seq, 10), ',')
}

// DecodeRecord reads back one line, with or without its end.
func DecodeRecord(line []byte, sink string) (Record, error) {
	var w wireRecord
	if err := json.Unmarshal(line, &w); err != nil {
		return Record{}, fmt.Errorf("decode attempt record: %w", err)
	}
	return Record{
		Kind: w.Kind, Seq: w.Seq, EventID: w.ID, Subject: w.Subject, Sink: sink, Number: w.Number,
		Generation: w.Generation, Lane: w.Lane, Origin: w.Origin, Route: w.Route, Default: w.Default != 0, Rules: w.Rules,
		Start: microTime(w.Start), Took: micros(w.Took),
		Timings: Timings{DNS: micros(w.DNS), Connect: micros(w.Connect), TLS: micros(w.TLS), FirstByte: micros(w.FirstByte)},
		Action:  Action(w.Action), Next: microTime(w.Next), Class: w.Class, Status: w.Status,
		Error: w.Error, Response: w.Response,
	}, nil
}

// appendText and its like leave out what is empty.
func appendText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	dst = append(dst, key...)
	if plain(s) {
		dst = append(dst, '"')
		dst = append(dst, s...)
		return append(dst, '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil { // never for a string
		return append(dst, `""`...)
	}
	return append(dst, quoted...)
}

// plain reports that s is the same within JSON.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendNumber(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func appendTime(dst []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return appendNumber(dst, key, t.UnixMicro())
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

func microTime(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// WithoutEvent returns lines without those of the event, and how many there
// were. lines itself is not changed.
func WithoutEvent(lines []byte, seq uint64) (rest []byte, removed int) {
	prefix := RecordPrefix(seq)
	for line := range bytes.Lines(lines) {
		if bytes.HasPrefix(line, prefix) {
			removed++
			continue
		}
		rest = append(rest, line...)
	}
	return rest, removed
}
