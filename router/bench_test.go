package router

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

// manyRoutes is a table with n routes over 100 resources and 10 sinks.
func manyRoutes(b *testing.B, n int) *Table {
	c := &config.Config{}
	for i := range 10 {
		c.Sinks = append(c.Sinks, config.Sink{Name: fmt.Sprintf("sink-%d", i)})
	}
	shapes := []string{"root%d.thing.made", "root%d.>", "*.thing%d.made", "root%d.*.paid"}
	for i := range n {
		pattern := fmt.Sprintf(shapes[i%len(shapes)], i%100)
		c.Routes = append(c.Routes, rule(fmt.Sprintf("route-%d", i), fmt.Sprintf("%s -> sink-%d", pattern, i%10)))
	}
	return mustCompile(b, c)
}

func benchmarkMatch(b *testing.B, routes int) {
	table := manyRoutes(b, routes)
	e := &event.Event{Subject: "root1.thing.made"}
	b.ReportAllocs()
	for b.Loop() {
		table.simple(e.Subject, 1)
	}
}

func BenchmarkMatch10Routes(b *testing.B)   { benchmarkMatch(b, 10) }
func BenchmarkMatch100Routes(b *testing.B)  { benchmarkMatch(b, 100) }
func BenchmarkMatch1000Routes(b *testing.B) { benchmarkMatch(b, 1000) }

// BenchmarkMatchNewSubject1000Routes is what a subject costs that is not remembered.
func BenchmarkMatchNewSubject1000Routes(b *testing.B) {
	table := manyRoutes(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		table.compute("root1.thing.made")
	}
}

func BenchmarkFilters1000Patterns(b *testing.B) {
	var patterns []Pattern
	for i := range 1000 {
		patterns = append(patterns, mustPattern(b, fmt.Sprintf("root%d.thing%d.made", i%100, i)))
	}
	for b.Loop() {
		Filters(patterns, nil)
	}
}

func BenchmarkJudge(b *testing.B) {
	r := steady()
	r.Jitter = 0.2
	p, now := NewPolicy(r), time.Now()
	err := delivery.Fail(delivery.Failed, errDown)
	h := delivery.History{Attempts: 5, First: now.Add(-time.Hour)}
	b.ReportAllocs()
	for b.Loop() {
		p.Judge(err, h, now)
	}
}

func BenchmarkHandle(b *testing.B) {
	table := manyRoutes(b, 100)
	s := sixteen()
	s.Name = "sink-1"
	w := NewWorker(WorkerOptions{Sink: s, Deliver: sinkFunc(works), Table: table})
	a := delivery.Attempt{Event: event.Event{ID: "e1", Subject: "root1.thing.made"}, Lane: delivery.Main}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.Admit(ctx, delivery.Main, 1); err != nil {
			b.Fatal(err)
		}
		if v := w.Handle(ctx, a); v.Action != delivery.Done {
			b.Fatalf("Handle = %+v", v)
		}
	}
}
