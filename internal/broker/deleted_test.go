package broker

import (
	"context"
	"testing"

	"github.com/penstock/penstock/internal/delivery"
)

func TestQueueDeletedWhileConsuming(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	h := &handler{judge: done}
	consume(t, b, subscription(">"), h)
	publishAll(t, b, 1, 1)
	eventually(t, "first delivery", func() bool { return len(h.attempts()) == 1 })
	if err := b.admin.js.DeleteConsumer(t.Context(), EventsStream, sinkConsumerPrefix+"crm"); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 2, 2)
	eventually(t, "delivery from the new queue", func() bool {
		for _, a := range h.attempts() {
			if a.Event.ID == "id-2" {
				return true
			}
		}
		return false
	})
}

// heldHandler takes nothing from the main lane before open is closed.
type heldHandler struct {
	handler
	asked chan struct{} // capacity 1
	open  chan struct{}
}

func (h *heldHandler) Admit(ctx context.Context, lane delivery.Lane, max int) (int, context.Context, error) {
	if lane == delivery.Main {
		select {
		case h.asked <- struct{}{}:
		default:
		}
		select {
		case <-h.open:
		case <-ctx.Done():
		}
	}
	return h.handler.Admit(ctx, lane, max)
}

// Nobody says of a queue that is deleted between two pulls that it was.
func TestQueueDeletedBetweenPulls(t *testing.T) {
	t.Parallel()
	b := open(t, testOptions(t, t.TempDir()))
	h := &heldHandler{handler: handler{judge: done}, asked: make(chan struct{}, 1), open: make(chan struct{})}
	consume(t, b, subscription(">"), h)
	<-h.asked
	if err := b.admin.js.DeleteConsumer(t.Context(), EventsStream, sinkConsumerPrefix+"crm"); err != nil {
		t.Fatal(err)
	}
	publishAll(t, b, 1, 1)
	close(h.open)
	eventually(t, "delivery from the new queue", func() bool { return len(h.attempts()) == 1 })
}
