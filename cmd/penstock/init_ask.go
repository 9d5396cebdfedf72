package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/app"
)

// asker asks a person, line by line.
type asker struct {
	ctx   context.Context
	out   io.Writer
	lines <-chan string
}

// newAsker begins to read the answers. A read of a terminal cannot be
// interrupted, so it is done beside: it ends with the process.
func newAsker(ctx context.Context, p process) asker {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(p.stdin); in.Scan(); {
			select {
			case lines <- strings.TrimSpace(in.Text()):
			case <-ctx.Done():
				return
			}
		}
	}()
	return asker{ctx, p.stdout, lines}
}

// ask returns the answer to a question, or fallback for an empty one. The end
// of the input is io.EOF.
func (a asker) ask(question, fallback string) (string, error) {
	if fallback != "" {
		question += " [" + fallback + "]"
	}
	fmt.Fprintf(a.out, "%s: ", question)
	select {
	case answer, ok := <-a.lines:
		switch {
		case !ok:
			fmt.Fprintln(a.out)
			return "", io.EOF
		case answer == "":
			return fallback, nil
		}
		return answer, nil
	case <-a.ctx.Done():
		fmt.Fprintln(a.out)
		return "", a.ctx.Err()
	}
}

// complete asks for the sinks of a draft, and which events each gets.
func (a asker) complete(d *draft) error {
	fmt.Fprintf(a.out, "Events come from %s. Where do they go? An empty answer takes what is in brackets.\n\n", d.source)
	err := a.sinks(d)
	if err == io.EOF {
		return errors.New("the answers ended before the last question; nothing is written")
	}
	return err
}

func (a asker) sinks(d *draft) error {
	question := "A URL, or one of " + strings.Join(app.SinkKinds(), ", ")
	for {
		fallback := "log"
		if len(d.sinks) > 0 {
			question, fallback = "Another one (URL or kind), or nothing", ""
		}
		target, err := a.ask(question, fallback)
		if err != nil || target == "" {
			return err
		}
		if _, _, err := sinkAt(target); err != nil {
			fmt.Fprintf(a.out, "  %s\n\n", err)
			continue
		}
		name, err := a.ask("Its name", sinkNameOf(target, d.sinks))
		if err != nil {
			return err
		}
		if what := d.trySink(name, target); what != "" {
			fmt.Fprintf(a.out, "  %s\n\n", what)
			continue
		}
		if err := a.pattern(d, name); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
	}
}

// trySink adds a sink, unless there is something wrong with it, and says what.
func (d *draft) trySink(name, target string) string {
	before := slices.Clone(d.sinks)
	if err := d.addSink(name, target); err != nil {
		return err.Error()
	}
	for _, m := range d.check("", d.text()).Fatal() {
		if strings.HasPrefix(m.Path, "sinks.") {
			d.sinks = before
			return m.What + "; " + m.Hint
		}
	}
	return ""
}

// pattern asks which events the last sink gets, until check has nothing
// against the answer.
func (a asker) pattern(d *draft, name string) error {
	for {
		pattern, err := a.ask("Which events it gets: a type or a pattern, such as *.invoice.paid; > is all", ">")
		if err != nil {
			return err
		}
		before := slices.Clone(d.routes)
		d.addRoute(pattern, name)
		ms := d.check("", d.text())
		wrong := false
		for _, m := range ms {
			if strings.Contains(m.Path, ".match") {
				fmt.Fprintf(a.out, "  %s; %s\n", m.What, m.Hint)
				wrong = true
			}
		}
		if !wrong {
			return nil
		}
		d.routes = before
	}
}

// addRoute lets a sink have what a pattern matches, by the route that has the
// pattern already if there is one.
func (d *draft) addRoute(pattern, sink string) {
	for i, r := range d.routes {
		if r.pattern == pattern {
			d.routes[i].to = append(slices.Clone(r.to), sink)
			return
		}
	}
	d.routes = append(d.routes, draftRoute{pattern, []string{sink}})
}
