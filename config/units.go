package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits, the longer name first where one ends in another.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// String writes the size exactly, with the unit that needs the fewest, as the
// file would: 512KiB, 10GB, 1500.
func (s Size) String() string {
	count, unit := int64(s), ""
	for _, u := range sizeUnits {
		if u.bytes > 1 && s > 0 && int64(s)%u.bytes == 0 && int64(s)/u.bytes < count {
			count, unit = int64(s)/u.bytes, u.name
		}
	}
	return strconv.FormatInt(count, 10) + unit
}

// DecodeNode reads a size: 512KiB, 1MiB, 10GB, or a number of bytes.
func (s *Size) DecodeNode(n Node) Mistakes {
	const hint = "write 512KiB, 1MiB, 10GB or a number of bytes"
	if n.val.kind != scalar {
		return n.needs("a size", hint)
	}
	size, err := parseSize(n.val.text)
	if err != nil {
		return n.needs("a size", hint)
	}
	*s = size
	return nil
}

func parseSize(text string) (Size, error) {
	digits, unit := strings.TrimSpace(text), int64(1)
	for _, u := range sizeUnits {
		if head, ok := cutSuffixFold(digits, u.name); ok {
			digits, unit = strings.TrimSpace(head), u.bytes
			break
		}
	}
	if strings.HasPrefix(digits, "-") || strings.HasPrefix(digits, "+") {
		return 0, strconv.ErrSyntax
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
		if n > math.MaxInt64/unit {
			return 0, strconv.ErrRange
		}
		return Size(n * unit), nil
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || unit == 1 || strings.ContainsAny(digits, "eExXpPnN_") || f*float64(unit) >= math.MaxInt64 {
		return 0, strconv.ErrSyntax
	}
	return Size(f * float64(unit)), nil
}

func cutSuffixFold(s, suffix string) (string, bool) {
	i := len(s) - len(suffix)
	if i < 0 || !strings.EqualFold(s[i:], suffix) {
		return s, false
	}
	return s[:i], true
}

const (
	rateHint = "write 50/s, 600/m, 1000/h, or {rate: 50/s, burst: 10}"
	maxRate  = 1e6 // attempts a second, and a burst; more is unlimited in all but name
)

// DecodeNode reads a rate: 50/s, 600/m, 1000/h, unlimited, or a mapping
// {rate: 50/s, burst: 10}. Without one, burst is a second's worth, at least 1.
func (r *Rate) DecodeNode(n Node) Mistakes {
	if n.val.kind != mapping {
		return r.fromWord(n)
	}
	var m struct {
		Rate  rateWord `yaml:"rate,required"`
		Burst int      `yaml:"burst" range:"1..1000000"`
	}
	if ms := n.Decode(&m); len(ms) > 0 {
		return ms
	}
	*r = Rate(m.Rate)
	if m.Burst > 0 && r.PerSecond > 0 {
		r.Burst = m.Burst
	}
	return nil
}

// rateWord is a Rate that cannot be a mapping.
type rateWord Rate

// DecodeNode reads a rate without a burst.
func (r *rateWord) DecodeNode(n Node) Mistakes { return (*Rate)(r).fromWord(n) }

func (r *Rate) fromWord(n Node) Mistakes {
	if n.val.kind != scalar {
		return n.needs("a rate", rateHint)
	}
	rate, ok := parseRate(n.val.text)
	if !ok {
		return n.needs("a rate", rateHint)
	}
	*r = rate
	return nil
}

func parseRate(text string) (Rate, bool) {
	if text == "unlimited" {
		return Rate{}, true
	}
	count, unit, ok := strings.Cut(text, "/")
	per := map[string]float64{"s": 1, "m": 60, "h": 3600}[strings.TrimSpace(unit)]
	n, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
	if !ok || err != nil || per == 0 || !(n > 0 && n/per <= maxRate) {
		return Rate{}, false
	}
	return Rate{PerSecond: n / per, Burst: max(1, int(math.Ceil(n/per)))}, true
}

// DecodeNode reads a start: now, beginning, an age such as -24h, or a time.
func (s *Start) DecodeNode(n Node) Mistakes {
	start, ok := parseStart(n.val.text)
	if n.val.kind != scalar || !ok {
		return n.needs("a start", "write now, beginning, -24h, or a time such as 2026-01-31T08:00:00Z")
	}
	*s = start
	return nil
}

func parseStart(text string) (Start, bool) {
	switch text {
	case "now":
		return Start{}, true
	case "beginning":
		return Start{Beginning: true}, true
	}
	if age, ok := strings.CutPrefix(text, "-"); ok {
		d, err := parseDuration(age)
		return Start{Since: d}, err == nil && d > 0
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return Start{At: at.UTC()}, true
		}
	}
	return Start{}, false
}

// DecodeNode reads a word that names something.
func (r *Ref) DecodeNode(n Node) Mistakes {
	if n.val.kind != scalar {
		return n.needs("a name", "")
	}
	*r = Ref{Pos: n.Pos(), Name: n.val.text}
	return nil
}
