package app

import (
	"sync"
	"time"
)

// meterSeconds is over how many whole seconds a meter looks back.
const meterSeconds = 10

// meter measures how many things happened in a second, of late. The zero
// value is ready.
type meter struct {
	mu     sync.Mutex
	counts [meterSeconds + 1]int64 // by second, round and round
	second int64                   // the latest that has a count
}

func (m *meter) add(now time.Time) {
	m.mu.Lock()
	m.advance(now.Unix())
	m.counts[m.second%int64(len(m.counts))]++
	m.mu.Unlock()
}

// rate is the mean of the last whole seconds.
func (m *meter) rate(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance(now.Unix())
	var n int64
	for _, c := range m.counts {
		n += c
	}
	n -= m.counts[m.second%int64(len(m.counts))]
	return float64(n) / meterSeconds
}

// advance empties the seconds up to now in which nothing happened.
func (m *meter) advance(now int64) {
	if now-m.second > int64(len(m.counts)) {
		m.second = now - int64(len(m.counts))
	}
	for m.second < now {
		m.second++
		m.counts[m.second%int64(len(m.counts))] = 0
	}
}
