package broker

import (
	"context"
	"sync"
)

// typicalSize is what a message is taken to have until some have come. It is
// more than usual, so that a queue of large ones does not come all at once.
const typicalSize = 64 << 10

// window bounds how many messages a lane has fetched and not settled. It asks
// for more only once half of it is free, so that pulls stay large. It may be
// bounded in bytes as well. A pull cannot be, so that bound is kept by asking
// for as many messages as fit if they are like the last ones.
type window struct {
	size int
	most int64 // bytes; 0: no bound

	mu      sync.Mutex
	free    int
	held    int64         // bytes
	typical int64         // bytes of a message, of late
	ready   chan struct{} // capacity 1: roomy
}

func newWindow(size int) *window {
	w := &window{size: size, free: size, ready: make(chan struct{}, 1)}
	w.ready <- struct{}{}
	return w
}

// acquire waits until half of the window is free and takes all that is free,
// or as much of it as the bytes allow.
func (w *window) acquire(ctx context.Context) (int, error) {
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-w.ready:
		}
		w.mu.Lock()
		if !w.roomy() {
			w.mu.Unlock()
			continue
		}
		n := w.free
		if w.most > 0 {
			n = min(n, int(max(1, (w.most-w.held)/max(w.typical, 1))))
		}
		w.free -= n
		w.signal()
		w.mu.Unlock()
		return n, nil
	}
}

// roomy reports that half of the window is free.
func (w *window) roomy() bool {
	return 2*w.free >= w.size && (w.most == 0 || 2*w.held <= w.most)
}

func (w *window) signal() {
	if !w.roomy() {
		return
	}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

// took counts the bytes of a message that has come.
func (w *window) took(bytes int) {
	if w.most == 0 {
		return
	}
	w.mu.Lock()
	w.held += int64(bytes)
	w.typical += (int64(bytes) - w.typical) / 8
	w.mu.Unlock()
}

// settled gives back the place of a message that had come.
func (w *window) settled(bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free++
	if w.most > 0 {
		w.held -= int64(bytes)
	}
	w.signal()
}

// release gives n places back.
func (w *window) release(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
	w.signal()
}
