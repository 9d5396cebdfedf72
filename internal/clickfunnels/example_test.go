package clickfunnels_test

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/clickfunnels"
)

func ExampleSource() {
	catalog := clickfunnels.NewCatalog()
	source := clickfunnels.NewSource(clickfunnels.Options{
		Name:    "clickfunnels",
		Secrets: []string{"the new secret", "the old secret"},
		Catalog: catalog,
	})
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	body, err := catalog.Sample("form_submission.created", clickfunnels.SampleOptions{ID: "6a1c-01", Now: now})
	if err != nil {
		fmt.Println(err)
		return
	}
	headers := clickfunnels.Sign("the old secret", now, body)

	fmt.Println(source.Verify(headers, body, now))
	e := source.Decode(headers, body, now)
	fmt.Println(e.ID, e.Type, e.Subject, e.APIVersion)
	fmt.Println(source.Verify(headers, body, now.Add(734*time.Second)))
	// Output:
	// <nil>
	// 6a1c-01 form_submission.created form.submission.created 2
	// signature is right, but the timestamp is 734 s behind our clock; at most 600 s are accepted: set this machine's clock (NTP), unless the request was held up or replayed
}

func ExampleCatalog_Match() {
	for _, e := range clickfunnels.NewCatalog().Match("courses.enrollment.*") {
		fmt.Println(e.Type)
	}
	// Output:
	// courses/enrollment.created
	// courses/enrollment.updated
	// courses/enrollment.deleted
	// courses/enrollment.suspended
	// courses/enrollment.course_completed
}

func ExampleCatalog_Suggest() {
	fmt.Println(clickfunnels.NewCatalog().Suggest("order.invoice.paid"))
	// Output: orders.invoice.paid
}
