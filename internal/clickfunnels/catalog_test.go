package clickfunnels

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/event"
)

// TestSubjects holds the catalogue against a list made without it: every type,
// a blank, and its subject.
func TestSubjects(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/subjects.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		typ, subject, _ := strings.Cut(strings.TrimSpace(line), " ")
		want[typ] = subject
	}
	c := NewCatalog()
	got := map[string]string{}
	for _, e := range c.Entries() {
		got[e.Type] = e.Subject
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects of the catalogue (-want +got):\n%s", diff)
	}
	s := NewSource(Options{Catalog: c})
	for typ, subject := range want {
		body := []byte(`{"event_id":"a","event_type":"` + typ + `"}`)
		if e := s.Decode(nil, body, arrival); e.Subject != subject || e.Type != typ {
			t.Errorf("Decode of %s has type %q, subject %q, want %q", typ, e.Type, e.Subject, subject)
		}
	}
}

func TestCatalogCounts(t *testing.T) {
	t.Parallel()
	kinds, versions := map[Kind]int{}, map[string]int{}
	for _, e := range NewCatalog().Entries() {
		kinds[e.Kind]++
		if e.Kind == Listed {
			versions[versionNames(e.Versions)]++
		}
		if e.Group == "" || e.Resource == "" || e.Description == "" || len(e.Versions) == 0 {
			t.Errorf("entry %s is incomplete: %+v", e.Type, e)
		}
		if e.V1Only() != (e.SentIn(1) && !e.SentIn(2)) || e.V1Discouraged() != (e.SentIn(1) && e.SentIn(2)) {
			t.Errorf("%s: V1Only %t, V1Discouraged %t of versions %v", e.Type, e.V1Only(), e.V1Discouraged(), e.Versions)
		}
	}
	if diff := cmp.Diff(map[Kind]int{Listed: 62, Extra: 22, Alias: 4, Old: 1, Weak: 2}, kinds); diff != "" {
		t.Errorf("entries by kind (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"V1, V2": 31, "V2": 27, "V1": 4}, versions); diff != "" {
		t.Errorf("listed entries by versions (-want +got):\n%s", diff)
	}
}

// One fact has one subject, however its type is spelled; other facts keep theirs.
func TestCanonical(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	for asked, want := range map[string]struct {
		subject string
		known   bool
	}{
		"form/submission.created":      {"form.submission.created", true},
		"form_submission.created":      {"form.submission.created", true},
		"form.submission.created":      {"form.submission.created", true},
		"contact/applied_tag.created":  {"contact.applied_tag.created", true},
		"contacts/applied_tag.created": {"contact.applied_tag.created", true},
		"contacts.applied_tag.created": {"contact.applied_tag.created", true},
		"contacts/applied_tag.deleted": {"contact.applied_tag.deleted", true},
		"contacts.applied_tag.deleted": {"contact.applied_tag.deleted", true},
		"subscription/invoice.paid":    {"subscription.invoice.paid", true},
		"subscription.invoice.paid":    {"subscription.invoice.paid", true},
		"orders/invoice.paid":          {"orders.invoice.paid", true},
		"orders.invoice.paid":          {"orders.invoice.paid", true},
		"one-time-order.invoice.paid":  {"one-time-order.invoice.paid", true},
		"brand/thing.made":             {"brand.thing.made", false},
		"Order.created":                {"Order.created", false},
		"orders.invoice.*":             {"orders.invoice.*", false},
		"orders.>":                     {"orders.>", false},
		"a..b":                         {"a..b", false},
		"":                             {"", false},
	} {
		if subject, known := c.Canonical(asked); subject != want.subject || known != want.known {
			t.Errorf("Canonical(%q) = %q, %t, want %q, %t", asked, subject, known, want.subject, want.known)
		}
	}
}

func TestAliases(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	for alias, of := range map[string]string{
		"form_submission.created":      "form/submission.created",
		"subscription.invoice.paid":    "subscription/invoice.paid",
		"contacts/applied_tag.created": "contact/applied_tag.created",
		"contacts/applied_tag.deleted": "contact/applied_tag.deleted",
	} {
		a, ok := c.Lookup(alias)
		if !ok || a.Kind != Alias || a.AliasOf != of {
			t.Errorf("Lookup(%s) = %+v, %t, want an alias of %s", alias, a, ok, of)
		}
		l, ok := c.Lookup(of)
		if !ok || l.Kind != Listed || !slices.Equal(l.Aliases, []string{alias}) || l.Subject != a.Subject {
			t.Errorf("Lookup(%s) = %+v, %t, want a listed type with alias %s and subject %s", of, l, ok, alias, a.Subject)
		}
	}
	if e, ok := c.Lookup("orders.invoice.paid"); ok {
		t.Errorf("Lookup of a subject = %+v, want none", e)
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	want := []string{
		"appointments", "blogs", "communities", "contact", "contacts", "course", "courses", "form", "form_submission",
		"fulfillment", "one-time-order", "one_time_order", "order", "orders", "platform_application", "product",
		"products", "renewal-invoice-payment-declined", "runs", "sales", "subscription", "workflows",
		"workflows_integration_step",
	}
	got := NewCatalog().Roots()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Roots (-want +got):\n%s", diff)
	}
	if slices.ContainsFunc(got, event.Reserved) {
		t.Errorf("Roots has one of ours: %v", got)
	}
}

// What Entries and Roots return belongs to the caller.
func TestCatalogDoesNotChange(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	c.Entries()[0].Type, c.Roots()[0] = "changed", "changed"
	if c.Entries()[0].Type == "changed" || c.Roots()[0] == "changed" {
		t.Error("writing to a result changed the catalogue")
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	for name, tt := range map[string]struct {
		pattern  string
		versions []int
		want     []string
	}{
		"literal":                   {"orders.invoice.paid", nil, []string{"orders/invoice.paid"}},
		"star":                      {"*.invoice.paid", nil, []string{"one-time-order.invoice.paid", "subscription/invoice.paid", "subscription.invoice.paid", "orders/invoice.paid"}},
		"star is one token":         {"one_time_order.*", nil, []string{"one_time_order.refunded"}},
		"rest":                      {"communities.>", nil, []string{"communities/post.created", "communities/posts/comment.created"}},
		"rest needs a token":        {"renewal-invoice-payment-declined.>", nil, nil},
		"one token":                 {"renewal-invoice-payment-declined", nil, []string{"renewal-invoice-payment-declined"}},
		"version":                   {"workflows.>", []int{2}, nil},
		"one of versions":           {"runs.>", []int{2, 1}, []string{"runs/step.dontrunme"}},
		"part of a token":           {"order*.created", nil, nil},
		"rest in the middle":        {"orders.>.paid", nil, nil},
		"nothing":                   {"", nil, nil},
		"too short":                 {"orders.invoice", nil, nil},
		"too long":                  {"orders.invoice.paid.twice", nil, nil},
		"types are not patterns":    {"orders/invoice.paid", nil, nil},
		"alias spelling is no fact": {"form_submission.created", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, e := range c.Match(tt.pattern, tt.versions...) {
				got = append(got, e.Type)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Match(%q, %v) (-want +got):\n%s", tt.pattern, tt.versions, diff)
			}
		})
	}
	if n := len(c.Match(">")); n != 91 {
		t.Errorf("> matches %d entries, want 91", n)
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	c := NewCatalog()
	for asked, want := range map[string]string{
		"orders.invoice.paid":     "orders.invoice.paid",
		"order.invoice.paid":      "orders.invoice.paid",
		"Orders/Invoice.Paid":     "orders.invoice.paid",
		"orders.invoice.payed":    "orders.invoice.paid",
		"orders.created":          "order.created",
		"form_submission.create":  "form.submission.created",
		"contacts.applied_tag.*":  "contact.applied_tag.created",
		"contacts.applied_tag.>":  "contact.applied_tag.created",
		"form_submission.*":       "form.submission.created",
		"invoice.paid":            "orders.invoice.paid",
		"enrollment.created":      "courses.enrollment.created",
		"one_time_order.complete": "one-time-order.completed",
		"subscription.cancelled":  "subscription.canceled",
		"product.*.created":       "products.variant.created",
		"charge.dispute.lost":     "",
		"zebra":                   "",
		"":                        "",
		"*.nothing.like.this":     "",
	} {
		if got := c.Suggest(asked); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", asked, got, want)
		}
	}
}

func TestReadCatalogRefuses(t *testing.T) {
	t.Parallel()
	const header = "type,versions,group,resource,description,kind,alias_of\n"
	for name, row := range map[string]string{
		"a version that is no number":       "a.b,two,g,r,d,listed,\n",
		"a type that cannot be a subject":   "a..b,2,g,r,d,listed,\n",
		"an alias of what makes no subject": "a.b,2,g,r,d,alias,.\n",
		"a row too short":                   "a.b,2\n",
	} {
		if entries, err := readCatalog(header + row); err == nil {
			t.Errorf("%s: read %+v, want an error", name, entries)
		}
	}
}
