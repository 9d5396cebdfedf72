package broker

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/delivery"
)

// Who follows an event learns that it expired.
func TestWhatExpiresIsRecorded(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sinks = []string{"crm"}
	b := open(t, o)
	if _, err := b.ensureConsumers(t.Context(), subscription("order.>")); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 3)
	stop := recording(t, b)
	later := time.Now().Add(b.o.Config.Retention + time.Minute)
	var got []delivery.Record
	eventually(t, "the ends of all are recorded", func() bool {
		tidy(t, b, later)
		got = storedRecords(t, b)
		return len(got) >= 3
	})
	stop()
	for _, r := range got {
		if r.Action != delivery.Bury || r.Class != delivery.Expired || r.Sink != "crm" || r.Number != 0 || r.Error == "" {
			t.Errorf("record %+v, want one of a dead letter of class expired, without an attempt", r)
		}
	}
}
