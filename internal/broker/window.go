package broker

import (
	"context"
	"sync"
)

// window bounds how many messages a lane has fetched and not settled. It asks
// for more only once half of it is free, so that pulls stay large.
type window struct {
	size int

	mu    sync.Mutex
	free  int
	ready chan struct{} // capacity 1: at least half is free
}

func newWindow(size int) *window {
	w := &window{size: size, free: size, ready: make(chan struct{}, 1)}
	w.ready <- struct{}{}
	return w
}

// acquire waits until half of the window is free and takes all that is free.
func (w *window) acquire(ctx context.Context) (int, error) {
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-w.ready:
		}
		w.mu.Lock()
		n := w.free
		if 2*n >= w.size {
			w.free = 0
			w.mu.Unlock()
			return n, nil
		}
		w.mu.Unlock()
	}
}

// release gives n places back.
func (w *window) release(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.free += n
	enough := 2*w.free >= w.size
	w.mu.Unlock()
	if enough {
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}
