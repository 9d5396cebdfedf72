package config

import (
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setScalar reads the scalar n into v, which is one of the types that Decode
// promises, and returns what is wrong with it.
func setScalar(n Node, v reflect.Value, r rules) Mistakes {
	what, hint, parse := scalarKind(v)
	if n.val.kind != scalar {
		return n.needs(what, hint)
	}
	text := n.val.text
	if r.path && text != "" {
		text = n.abs(text)
	}
	if err := parse(text); err != nil {
		return n.needs(what, hint)
	}
	return nil
}

// scalarKind returns how a type is named to the user, an example, and what
// parses it. The parser's error is not shown: it would quote the value.
func scalarKind(v reflect.Value) (what, hint string, parse func(string) error) {
	switch v.Type() {
	case secretType:
		return "a string", "write a word, or a text between quotes", func(s string) error {
			v.Set(reflect.ValueOf(NewSecret(s)))
			return nil
		}
	case durationType:
		return "a duration", "write 500ms, 10s, 5m, 1h30m or 7d", func(s string) error {
			d, err := parseDuration(s)
			v.SetInt(int64(d))
			return err
		}
	case prefixType:
		return "a network", "write 10.0.0.0/8, or one address", func(s string) error {
			p, err := parsePrefix(s)
			v.Set(reflect.ValueOf(p))
			return err
		}
	}
	switch v.Kind() {
	case reflect.String:
		return "a string", "write a word, or a text between quotes", func(s string) error { v.SetString(s); return nil }
	case reflect.Bool:
		return "true or false", "", func(s string) error { return parseBool(v, s) }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number", "such as 3", func(s string) error {
			i, err := strconv.ParseInt(s, 10, v.Type().Bits())
			v.SetInt(i)
			return err
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number", "such as 3", func(s string) error {
			i, err := strconv.ParseUint(s, 10, v.Type().Bits())
			v.SetUint(i)
			return err
		}
	case reflect.Float32, reflect.Float64:
		return "a number", "such as 0.5", func(s string) error { return parseFloat(v, s) }
	}
	panic("config: Decode does not know the type " + v.Type().String())
}

func parseBool(v reflect.Value, s string) error {
	switch s {
	case "true", "True", "TRUE":
		v.SetBool(true)
	case "false", "False", "FALSE":
		v.SetBool(false)
	default:
		return strconv.ErrSyntax
	}
	return nil
}

func parseFloat(v reflect.Value, s string) error {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.ErrSyntax
	}
	v.SetFloat(f)
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.WithZone("").Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// parseDuration reads Go's syntax with days before it, 7d or 1d12h, and
// refuses what is negative.
func parseDuration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseUint(head, 10, 16)
		if err != nil {
			return 0, strconv.ErrSyntax
		}
		days, rest = time.Duration(n)*24*time.Hour, tail
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") || days+d < days {
		return 0, strconv.ErrSyntax
	}
	return days + d, nil
}

// showDuration writes d as parseDuration reads it, without zero units.
func showDuration(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// checkRules checks the range and the words that a field's tags ask for.
func checkRules(n Node, v reflect.Value, r rules) Mistakes {
	if n.val.unresolved {
		return nil
	}
	if r.words != "" && v.Kind() == reflect.String {
		return checkWords(n, v.String(), strings.Fields(r.words))
	}
	if r.bounds == "" {
		return nil
	}
	low, high, _ := strings.Cut(r.bounds, "..")
	got := number(v)
	if (low == "" || got >= bound(v.Type(), low)) && (high == "" || got <= bound(v.Type(), high)) {
		return nil
	}
	want := "must be between " + low + " and " + high
	switch {
	case high == "":
		want = "must be at least " + low
	case low == "":
		want = "must be at most " + high
	}
	return Mistakes{n.Errorf("", want+", got "+n.got(), "")}
}

func checkWords(n Node, got string, words []string) Mistakes {
	for _, w := range words {
		if got == w {
			return nil
		}
	}
	hint := ""
	if near := Nearest(got, words); near != "" {
		hint = "did you mean " + near + "?"
	}
	return Mistakes{n.Errorf("", "must be one of "+strings.Join(words, ", ")+", got "+n.got(), hint)}
}

func number(v reflect.Value) float64 {
	switch {
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	}
	return v.Float()
}

// bound reads one end of a range tag. The tag is ours, so a bad one panics.
func bound(t reflect.Type, s string) float64 {
	v := reflect.New(t).Elem()
	var err error
	if t == sizeType {
		var size Size
		size, err = parseSize(s)
		v.SetInt(int64(size))
	} else {
		_, _, parse := scalarKind(v)
		err = parse(s)
	}
	if err != nil {
		panic(fmt.Sprintf("config: bad range tag %q", s))
	}
	return number(v)
}
