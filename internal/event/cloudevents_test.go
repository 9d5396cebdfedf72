package event_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/event"
)

func TestHeaderValue(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300)
	for name, tt := range map[string]struct {
		in   string
		max  int
		want string
	}{
		"empty":                        {"", 256, ""},
		"event type as it is":          {"orders/invoice.paid", 256, "orders/invoice.paid"},
		"all that stays":               {"!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", 256, "!#$&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~"},
		"space":                        {"a b", 256, "a%20b"},
		"double quote":                 {`a"b`, 256, "a%22b"},
		"percent, so decoding is sure": {"100%25", 256, "100%2525"},
		"header injection":             {"a\r\nX-Evil: 1", 256, "a%0D%0AX-Evil:%201"},
		"NUL, tab and DEL":             {"\x00\t\x7f", 256, "%00%09%7F"},
		"two-byte character":           {"café", 256, "caf%C3%A9"},
		"three-byte character":         {"€", 256, "%E2%82%AC"},
		"four-byte character":          {"😀", 256, "%F0%9F%98%80"},
		"bytes that are not UTF-8":     {"a\xffb", 256, "a%EF%BF%BDb"},
		"exactly the bound":            {long[:256], 256, long[:256]},
		"one above the bound":          {long[:257], 256, long[:253] + "..."},
		"far above the bound":          {strings.Repeat("a", 5000), 256, long[:253] + "..."},
		"encoded to exactly the bound": {"abcdef ", 9, "abcdef%20"},
		"cut before an encoded space":  {"abcdef ", 8, "abcde..."},
		"cut before a whole character": {"ab€€", 16, "ab%E2%82%AC..."},
		"no room for half a character": {"ab€€", 13, "ab..."},
		"cut within the clean part":    {"abcdefghij€", 8, "abcde..."},
		"no bound":                     {long + " ", 0, long + "%20"},
		"bound below the mark":         {"abc ", 2, ".."},
		"bound of the mark":            {"abcd", 3, "..."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := event.HeaderValue(tt.in, tt.max); got != tt.want {
				t.Errorf("HeaderValue(%q, %d) = %q, want %q", tt.in, tt.max, got, tt.want)
			}
		})
	}
}

func TestHeaderValueCostsNothingWhenClean(t *testing.T) {
	const in = "orders/invoice.paid"
	var out string
	if n := testing.AllocsPerRun(100, func() { out = event.HeaderValue(in, event.MaxAttribute) }); n != 0 || out != in {
		t.Errorf("HeaderValue(%q) = %q with %v allocations, want it unchanged with 0", in, out, n)
	}
}

func FuzzHeaderValue(f *testing.F) {
	f.Add("orders/invoice.paid", 256)
	f.Add("a\r\nb", 3)
	f.Add("ab€€%\xff\"", 13)
	f.Add(strings.Repeat("😀", 100), 256)
	f.Add("x", -1)
	f.Fuzz(func(t *testing.T, s string, max int) {
		got := event.HeaderValue(s, max)
		if max > 0 && len(got) > max {
			t.Fatalf("HeaderValue(%q, %d) has %d bytes", s, max, len(got))
		}
		for i := range len(got) {
			if c := got[i]; c < 0x21 || c > 0x7E || c == '"' {
				t.Fatalf("HeaderValue(%q, %d) = %q: byte %d is not safe", s, max, got, i)
			}
		}
		back, err := url.PathUnescape(got)
		if err != nil || !utf8.ValidString(back) {
			t.Fatalf("HeaderValue(%q, %d) = %q does not decode: %q, %v", s, max, got, back, err)
		}
		whole := string([]rune(s)) // every bad byte becomes U+FFFD
		if back != whole && !strings.HasSuffix(got, "...") && max >= 3 {
			t.Fatalf("HeaderValue(%q, %d) = %q decodes to %q, want %q", s, max, got, back, whole)
		}
	})
}

func ExampleHeaderValue() {
	fmt.Println(event.HeaderValue("Bestellung bezahlt: 5 €", event.MaxAttribute))
	fmt.Println(event.HeaderValue("orders/invoice.paid", 16))
	// Output:
	// Bestellung%20bezahlt:%205%20%E2%82%AC
	// orders/invoic...
}
