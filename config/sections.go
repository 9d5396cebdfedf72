package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const day = 24 * time.Hour

func defaultServer() Server {
	return Server{
		Listen:           ":8080",
		Admin:            "127.0.0.1:8081",
		MaxBody:          1 << 20,
		MaxInFlight:      1024,
		MaxInFlightBytes: 64 << 20,
		ShutdownTimeout:  20 * time.Second,
	}
}

func defaultBroker() Broker {
	return Broker{
		DataDir:      "./penstock-data",
		Durability:   Power,
		Retention:    7 * day,
		DedupeWindow: 2 * day,
		Replicas:     1,
	}
}

func defaultSink() Sink {
	return Sink{
		Timeout:     10 * time.Second,
		Concurrency: 16,
		Retry: Retry{
			Initial:           5 * time.Second,
			Multiplier:        3,
			MaxInterval:       time.Hour,
			Jitter:            0.2,
			MaxAge:            3 * day,
			PermanentStatuses: []int{400, 410, 413, 415, 422},
		},
		Hold: Hold{Failures: 10, Probe: 5 * time.Second, ProbeMax: time.Minute},
	}
}

// sinkKeys are the keys that every kind of sink has.
var sinkKeys = []string{"kind", "timeout", "concurrency", "rate", "retry", "hold", "start"}

// expandKeys fills in the variables of a section. roleOf says which role needs
// a key; "" is needed by all.
func (l *loader) expandKeys(n Node, roleOf func(key string) string) {
	if n.val == nil || n.val.kind != mapping {
		l.expandTree(n, l.o.NoEnv)
		return
	}
	for _, key := range n.val.keys {
		role := roleOf(strings.TrimSuffix(key, "_file"))
		lenient := l.o.NoEnv || role != "" && !l.runs(role)
		l.expandTree(n.Get(key), lenient)
		if v := n.val.get(key); lenient && strings.HasSuffix(key, "_file") {
			v.unresolved = true
		}
	}
}

func (l *loader) runs(role string) bool {
	return len(l.o.Roles) == 0 || slices.Contains(l.o.Roles, role)
}

func (l *loader) decodeServer(n Node) Server {
	s := defaultServer()
	if n.IsZero() {
		return s
	}
	l.expandKeys(n, func(key string) string {
		if key == "admin_token" || key == "admin_tokens" {
			return RoleConsole
		}
		return ""
	})
	l.check(n.Decode(&s)...)
	return s
}

func (l *loader) decodeBroker(n Node) Broker {
	b := defaultBroker()
	if n.IsZero() {
		return b
	}
	l.expandTree(n, l.o.NoEnv)
	l.check(n.Decode(&b)...)
	return b
}

func (l *loader) decodeSource(e named) Source {
	l.expandKeys(e.Node, func(key string) string {
		if key == "secrets" || key == "url_token" {
			return RoleIngress
		}
		return ""
	})
	s := Source{Name: e.name, Path: "/webhooks/" + e.name}
	l.checkName(e)
	l.check(e.Decode(&s)...)
	s.Pos = e.key
	if e.val.kind == mapping {
		l.checkKind(e.Node, s.Kind, l.o.SourceKinds)
	}
	return s
}

func (l *loader) decodeSink(e named) Sink {
	l.expandKeys(e.Node, func(key string) string {
		if key == "kind" {
			return ""
		}
		return RoleRouter
	})
	s := defaultSink()
	if change := l.o.SinkDefaults[e.word("kind")]; change != nil {
		change(&s)
	}
	s.Name = e.name
	l.checkName(e)
	if e.val.kind != mapping {
		l.check(e.Decode(&s)...)
		s.Pos = e.key
		return s
	}
	common, options := e.split(sinkKeys)
	l.check(common.Decode(&s)...)
	s.Pos, s.Options = e.key, options
	l.checkRetry(e.Node, s)
	var kinds []string
	if l.o.SinkKinds != nil {
		kinds = slices.Sorted(maps.Keys(l.o.SinkKinds))
	}
	l.checkKind(e.Node, s.Kind, kinds)
	if check := l.o.SinkKinds[s.Kind]; check != nil {
		l.check(check(options)...)
	}
	return s
}

func (l *loader) checkRetry(n Node, s Sink) {
	if r := s.Retry; r.MaxInterval < r.Initial {
		l.check(n.Get("retry").Errorf("max_interval", fmt.Sprintf("max_interval %s is below initial %s",
			showDuration(r.MaxInterval), showDuration(r.Initial)), "raise max_interval"))
	}
	if h := s.Hold; h.ProbeMax < h.Probe {
		l.check(n.Get("hold").Errorf("probe_max", fmt.Sprintf("probe_max %s is below probe %s",
			showDuration(h.ProbeMax), showDuration(h.Probe)), "raise probe_max"))
	}
}

func (l *loader) decodeRoute(i int, n Node) Route {
	l.expandTree(n, l.o.NoEnv)
	r := Route{}
	l.check(n.Decode(&r)...)
	r.Pos = n.Pos()
	if r.Name == "" {
		r.Name = fmt.Sprintf("route-%d", i+1)
	}
	return r
}

func (l *loader) decodeDefault() {
	if l.fallback.IsZero() {
		return
	}
	l.expandTree(l.fallback, l.o.NoEnv)
	l.check(l.fallback.Decode(&l.cfg.Default)...)
}
