package main

import (
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxKept bounds what the page shows.
const maxKept = 50

// delivered is one attempt that arrived.
type delivered struct {
	At                      time.Time
	Path, Subject, ID, Body string
	Size                    int64
	Status                  int
}

// kept is what arrived last. Its zero value is empty; it may be used
// concurrently.
type kept struct {
	mu    sync.Mutex
	total int
	last  []delivered // the newest at the end
}

func (k *kept) add(d delivered) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.total++
	k.last = append(k.last, d)
	if len(k.last) > maxKept {
		k.last = slices.Delete(k.last, 0, 1)
	}
}

//go:embed page.html
var pageHTML string

func (k *kept) show(w http.ResponseWriter, _ *http.Request) {
	page, err := template.New("page").Parse(pageHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	k.mu.Lock()
	last, total := slices.Clone(k.last), k.total
	k.mu.Unlock()
	slices.Reverse(last)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page.Execute(w, map[string]any{"Total": total, "Last": last}) // the browser has gone
}
