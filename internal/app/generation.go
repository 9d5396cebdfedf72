package app

import (
	"io"
	"log/slog"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/ingress"
	"github.com/penstock/penstock/internal/clickfunnels"
	"github.com/penstock/penstock/router"
	"github.com/penstock/penstock/sinks"
)

// generation is one configuration and what was built of it. It does not
// change; a reload replaces it by another, which shares what is as before.
type generation struct {
	config *config.Config
	table  *router.Table // of config
	sinks  map[string]sinks.Sink
	// sources verify and read what comes in, by name; none without the role.
	sources map[string]*clickfunnels.Source
	meters  map[string]*meter // of deliveries, by sink
}

// unbuilt is an App that opens nothing, for what follows from a
// configuration alone.
func unbuilt(c *config.Config, o Options, log *slog.Logger) *App {
	a := &App{o: o, log: log}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.generation.Store(&generation{config: c})
	return a
}

// now is the generation in force. Who asks more than one thing of it keeps it.
func (a *App) now() *generation { return a.generation.Load() }

// conf is the configuration in force.
func (a *App) conf() *config.Config { return a.now().config }

// sinkDeps are what all sinks of this process share.
func (a *App) sinkDeps() sinks.Deps {
	return sinks.Deps{HTTP: sinks.NewTransport(sinks.Guard{}), Stdout: a.o.Stdout, Logger: a.log.With("part", "sinks"), Version: a.o.Version}
}

// next builds the generation of c. What is as in the present one is taken over
// from it; opened are the sinks that are not. It starts nothing.
func (a *App) next(c *config.Config, present *generation) (g *generation, opened map[string]sinks.Sink, err error) {
	g = &generation{config: c, sinks: map[string]sinks.Sink{}, sources: map[string]*clickfunnels.Source{}, meters: map[string]*meter{}}
	if g.table, err = router.Compile(c); err != nil {
		return nil, nil, err
	}
	opened = map[string]sinks.Sink{}
	if a.o.has(config.RoleRouter) {
		for _, s := range c.Sinks {
			g.meters[s.Name] = present.meter(s.Name)
			if same, ok := present.sink(s); ok {
				g.sinks[s.Name] = same
				continue
			}
			one, err := sinks.Open(s, a.deps)
			if err != nil {
				closeSinks(opened, a.log)
				return nil, nil, err
			}
			g.sinks[s.Name], opened[s.Name] = one, one
		}
	}
	if a.o.has(config.RoleIngress) {
		for _, s := range c.Sources {
			g.sources[s.Name] = clickfunnels.NewSource(clickfunnels.Options{
				Name: s.Name, Secrets: reveal(s.Secrets), URLToken: s.URLToken.Reveal(),
				SubjectPrefix: s.SubjectPrefix, ExtraRoots: c.Broker.ExtraRoots, Catalog: a.catalog,
			})
		}
	}
	return g, opened, nil
}

// sink returns the generation's own sink when it is configured just so.
func (g *generation) sink(want config.Sink) (sinks.Sink, bool) {
	if g == nil {
		return nil, false
	}
	for _, s := range g.config.Sinks {
		if s.Name == want.Name && s.Same(want) {
			return g.sinks[s.Name], true
		}
	}
	return nil, false
}

func (g *generation) meter(sink string) *meter {
	if g != nil && g.meters[sink] != nil {
		return g.meters[sink]
	}
	return &meter{}
}

// endpoints are where webhooks are taken.
func (g *generation) endpoints() []ingress.Endpoint {
	var out []ingress.Endpoint
	for _, s := range g.config.Sources {
		out = append(out, ingress.Endpoint{
			Name: s.Name, Path: s.Path, Token: s.URLToken.Reveal(), Signed: len(s.Secrets) > 0, Source: g.sources[s.Name],
		})
	}
	return out
}

// subjects are the roots and the prefixes of what the sources send.
func (g *generation) subjects(catalog *clickfunnels.Catalog) (roots, prefixes []string) {
	for _, s := range g.config.Sources {
		if s.SubjectPrefix == "" {
			roots = catalog.Roots()
		} else {
			prefixes = append(prefixes, s.SubjectPrefix)
		}
	}
	return roots, prefixes
}

func (g *generation) sinkNames() []string {
	var out []string
	for _, s := range g.config.Sinks {
		out = append(out, s.Name)
	}
	return out
}

// closeSinks gives up what sinks hold.
func closeSinks(all map[string]sinks.Sink, log *slog.Logger) {
	for name, s := range all {
		closeSink(name, s, log)
	}
}

func closeSink(name string, s sinks.Sink, log *slog.Logger) {
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			log.Warn("close sink", "sink", name, "err", err)
		}
	}
}
