package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/delivery"
)

func TestChangesAreKept(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	const n = 7
	for i := range n {
		c := delivery.Change{ID: fmt.Sprint("c", i), By: []string{"ann", "bob"}[i%2], Action: "drop dead letter", Result: delivery.ChangeBegun}
		if err := b.SaveChange(t.Context(), c); err != nil {
			t.Fatalf("SaveChange: %v", err)
		}
		if i == 3 {
			continue // its process died
		}
		c.Result = delivery.ChangeDone
		if err := b.SaveChange(t.Context(), c); err != nil {
			t.Fatalf("SaveChange: %v", err)
		}
	}
	for name, tt := range map[string]struct {
		f    delivery.ChangeFilter
		want []string
	}{
		"pages of two":  {delivery.ChangeFilter{Limit: 2}, []string{"c6 done", "c5 done", "c4 done", "c3 begun", "c2 done", "c1 done", "c0 done"}},
		"of one caller": {delivery.ChangeFilter{Limit: 1, By: "bob"}, []string{"c5 done", "c3 begun", "c1 done"}},
		"of one action": {delivery.ChangeFilter{Limit: 5, Action: "erase event"}, nil},
		"of the future": {delivery.ChangeFilter{Limit: 5, Since: time.Now().Add(time.Hour)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for more := true; more; {
				var page []delivery.Change
				var err error
				if page, more, err = b.AuditedChanges(t.Context(), tt.f); err != nil {
					t.Fatalf("AuditedChanges: %v", err)
				}
				for _, c := range page {
					got = append(got, c.ID+" "+c.Result)
					tt.f.Before = c.Seq
				}
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
		})
	}
}
