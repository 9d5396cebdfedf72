package broker

import "sync"

// set is a set of ids that several goroutines fill.
type set struct {
	mu sync.Mutex
	m  map[string]bool
}

func newSet() *set { return &set{m: map[string]bool{}} }

func (s *set) add(id string) {
	s.mu.Lock()
	s.m[id] = true
	s.mu.Unlock()
}

func (s *set) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[id]
}

func (s *set) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}
