package app

import (
	"context"
	"errors"
	"fmt"
)

// stages run parts of the process and stop them in the reverse order of their
// start, each after the one that needs it has returned.
type stages struct {
	fail    context.CancelCauseFunc
	running []stage
}

type stage struct {
	name string
	stop context.CancelFunc
	done chan error
}

// start runs f until stop. When f ends with an error before, the whole process is
// to stop.
func (s *stages) start(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s.running = append(s.running, stage{name: name, stop: cancel, done: done})
	go func() {
		err := f(ctx)
		if err != nil {
			s.fail(fmt.Errorf("%s: %w", name, err))
		}
		done <- err
	}()
}

// stop ends all parts, the last started first, and waits for each.
func (s *stages) stop() error {
	var errs []error
	for i := len(s.running) - 1; i >= 0; i-- {
		st := s.running[i]
		st.stop()
		if err := <-st.done; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", st.name, err))
		}
	}
	return errors.Join(errs...)
}
