package event

import (
	"fmt"
	"strings"
	"testing"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		eventType, want string
		ok              bool
	}{
		"slash":                  {"orders/invoice.paid", "orders.invoice.paid", true},
		"several slashes":        {"workflows/steps/integration_step.executed", "workflows.steps.integration_step.executed", true},
		"dots only":              {"subscription.line_items.changed", "subscription.line_items.changed", true},
		"one token":              {"renewal-invoice-payment-declined", "renewal-invoice-payment-declined", true},
		"case is kept":           {"Order.Created", "Order.Created", true},
		"tilde":                  {"a~b", "a~7Eb", true},
		"what looks escaped":     {"a~2Ab", "a~7E2Ab", true},
		"wildcards":              {"a.*.>", "a.~2A.~3E", true},
		"blank":                  {"a b", "a~20b", true},
		"line break":             {"a\r\nb", "a~0D~0Ab", true},
		"NUL":                    {"a\x00", "a~00", true},
		"dollar":                 {"$SYS.x", "~24SYS.x", true},
		"beyond ASCII":           {"é/ü", "~C3~A9.~C3~BC", true},
		"not UTF-8":              {"\xff", "~FF", true},
		"our own root":           {"penstock/x", "penstock.x", true},
		"16 tokens":              {"a" + strings.Repeat("/a", 15), "a" + strings.Repeat(".a", 15), true},
		"17 tokens":              {"a" + strings.Repeat("/a", 16), "", false},
		"200 bytes":              {strings.Repeat("a", 200), strings.Repeat("a", 200), true},
		"201 bytes":              {strings.Repeat("a", 201), "", false},
		"199 bytes with escapes": {"a" + strings.Repeat("*", 66), "a" + strings.Repeat("~2A", 66), true},
		"202 bytes with escapes": {"a" + strings.Repeat("*", 67), "", false},
		"empty":                  {"", "", false},
		"slash alone":            {"/", "", false},
		"slash first":            {"/a", "", false},
		"slash last":             {"a/", "", false},
		"dot last":               {"a.", "", false},
		"empty token":            {"a./b", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := Subject(tt.eventType); got != tt.want || ok != tt.ok {
				t.Errorf("Subject(%q) = %q, %t, want %q, %t", tt.eventType, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func FuzzSubject(f *testing.F) {
	for _, seed := range []string{
		"", "orders/invoice.paid", "renewal-invoice-payment-declined", "one-time-order.invoice.paid", "a~b", "~7E", "*", ">",
		"a.>", "$JS.API", "é", "\xff\xfe", "a//b", "/", "a b\r\n", "unknown/malformed", "penstock.retry.due.x",
		strings.Repeat("a/", 17), strings.Repeat("*", 70), strings.Repeat("a", 201),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, eventType string) {
		subject, ok := Subject(eventType)
		if again, okAgain := Subject(eventType); again != subject || okAgain != ok {
			t.Fatalf("Subject(%q) = %q, then %q", eventType, subject, again)
		}
		if !ok {
			if subject != "" {
				t.Errorf("Subject(%q) = %q, but not ok", eventType, subject)
			}
			return
		}
		checkTokens(t, subject)
		// That Unescape finds the type again, but for the slashes, is what
		// keeps two types apart.
		if got, want := Unescape(subject), strings.ReplaceAll(eventType, "/", "."); got != want {
			t.Errorf("Unescape(%q) = %q, want %q", subject, got, want)
		}
	})
}

func checkTokens(t *testing.T, subject string) {
	t.Helper()
	tokens := strings.Split(subject, ".")
	if len(subject) > 200 || len(tokens) > 16 {
		t.Errorf("subject %q has %d bytes and %d tokens", subject, len(subject), len(tokens))
	}
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_~-"
	for _, token := range tokens {
		if token == "" || strings.Trim(token, allowed) != "" {
			t.Errorf("subject %q has the token %q", subject, token)
		}
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":               "",
		"orders.invoice": "orders.invoice",
		"a~7Eb":          "a~b",
		"a~7E2Ab":        "a~2Ab",
		"~C3~A9":         "é",
		"~":              "~",
		"~2":             "~2",
		"~2a":            "~2a", // Subject writes upper case only
		"~zz~2A":         "~zz*",
	} {
		if got := Unescape(in); got != want {
			t.Errorf("Unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestDedupeID(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ source, id, want string }{
		"UUID with dashes":      {"cf", "6A1C1D2E-0f7b-4e51-9d55-1b1a3f6f2c15", "cf:6a1c1d2e0f7b4e519d551b1a3f6f2c15"},
		"the same without":      {"cf", "6a1c1d2e0f7b4e519d551b1a3f6f2c15", "cf:6a1c1d2e0f7b4e519d551b1a3f6f2c15"},
		"source keeps dashes":   {"cf-eu", "6a1c1d2e-0f7b4e519d551b1a3f6f2c15", "cf-eu:6a1c1d2e0f7b4e519d551b1a3f6f2c15"},
		"hash":                  {"cf", "sha256-00ff", "cf:sha256-00ff"},
		"no UUID keeps dashes":  {"cf", "order-1-11", "cf:order-1-11"},
		"no UUID keeps case":    {"cf", "Order-1", "cf:Order-1"},
		"31 digits are no UUID": {"cf", "6A1C1D2E-0f7b4e519d551b1a3f6f2c1", "cf:6A1C1D2E-0f7b4e519d551b1a3f6f2c1"},
		"33 digits are no UUID": {"cf", "6A1C1D2E-0f7b4e519d551b1a3f6f2c155", "cf:6A1C1D2E-0f7b4e519d551b1a3f6f2c155"},
		"empty":                 {"cf", "", "cf:"},
	} {
		if got := DedupeID(tt.source, tt.id); got != tt.want {
			t.Errorf("%s: DedupeID(%q, %q) = %q, want %q", name, tt.source, tt.id, got, tt.want)
		}
	}
}

func TestValidPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]bool{
		"shop":                  true,
		"shop.eu":               true,
		"Shop_1-x":              true,
		"shop.unknown":          true,
		"penstocks":             true,
		strings.Repeat("a", 64): true,
		strings.Repeat("a", 65): false,
		"":                      false,
		"shop.":                 false,
		".shop":                 false,
		"shop..eu":              false,
		"shop/eu":               false,
		"shop.*":                false,
		"shop.>":                false,
		"shop~20":               false,
		"$JS":                   false,
		"_INBOX":                false,
		"sh op":                 false,
		"unknown":               false,
		"unknown.shop":          false,
		"penstock":              false,
		"penstock.shop":         false,
	} {
		if got := ValidPrefix(prefix); got != want {
			t.Errorf("ValidPrefix(%q) = %t, want %t", prefix, got, want)
		}
	}
}

// The common types must cost no more than the string they become.
func TestSubjectAllocates(t *testing.T) {
	for eventType, want := range map[string]float64{"order.created": 0, "orders/invoice.paid": 1, "a b/c": 1} {
		got := testing.AllocsPerRun(100, func() { Subject(eventType) })
		if got > want {
			t.Errorf("Subject(%q) allocates %v times, want at most %v", eventType, got, want)
		}
	}
}

func BenchmarkSubject(b *testing.B) {
	for _, eventType := range []string{"order.created", "orders/invoice.paid", "commande créée"} {
		b.Run(eventType, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Subject(eventType)
			}
		})
	}
}

func ExampleSubject() {
	for _, eventType := range []string{"orders/invoice.paid", "order.*", "order..created"} {
		fmt.Println(Subject(eventType))
	}
	// Output:
	// orders.invoice.paid true
	// order.~2A true
	//  false
}

func ExampleDedupeID() {
	fmt.Println(DedupeID("clickfunnels", "6A1C1D2E-0F7B-4E51-9D55-1B1A3F6F2C15"))
	// Output: clickfunnels:6a1c1d2e0f7b4e519d551b1a3f6f2c15
}
