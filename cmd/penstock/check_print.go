package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/penstock/penstock/config"
)

// The forms in which check prints what it found.
const (
	formatText   = "text"
	formatJSON   = "json"
	formatGitHub = "github"
)

// printFindings writes mistakes for whoever reads w: a person at a terminal
// gets the line with a mark below it, everybody else one line each. strict
// calls warnings errors, as they then count.
func (p process) printFindings(w io.Writer, ms config.Mistakes, strict bool) {
	if !p.attends(w) {
		printMistakes(w, ms)
		return
	}
	colour := p.paintOn(w)
	for i, m := range ms {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printFinding(w, colour, m, strict)
	}
}

func printFinding(w io.Writer, colour paint, m config.Mistake, strict bool) {
	level := colour.red(severity(m))
	if m.Warning && !strict {
		level = colour.yellow(severity(m))
	}
	head := level + ": "
	if at := m.Pos.String(); at != "" {
		head = colour.bold(at) + ": " + head
	}
	if m.Path != "" {
		head += colour.bold(m.Path) + ": "
	}
	fmt.Fprintln(w, head+m.What)
	margin := ""
	if m.Excerpt != "" {
		number := strconv.Itoa(m.Pos.Line)
		margin = strings.Repeat(" ", len(number))
		line, mark := window(m.Excerpt, m.Pos.Column)
		fmt.Fprintf(w, " %s %s\n", colour.cyan(number+" |"), line)
		fmt.Fprintf(w, " %s %s%s\n", colour.cyan(margin+" |"), strings.Repeat(" ", mark), colour.red("^"))
	}
	if m.Hint != "" {
		fmt.Fprintf(w, " %s %s %s\n", margin, colour.cyan("="), m.Hint)
	}
}

func severity(m config.Mistake) string {
	if m.Warning {
		return "warning"
	}
	return "error"
}

// shownWidth bounds a line that is shown.
const shownWidth = 100

// window cuts a line to what is around a column, counted from 1 in characters,
// and returns it with how far the column is from its start. Every character is
// one wide: a tab is a blank, and what a terminal would obey a question mark.
func window(line string, column int) (shown string, mark int) {
	runes := []rune(strings.TrimRight(line, " \t\r"))
	for i, r := range runes {
		switch {
		case r == '\t':
			runes[i] = ' '
		case !unicode.IsPrint(r):
			runes[i] = '?'
		}
	}
	mark = min(max(column-1, 0), len(runes))
	if start := mark - shownWidth*2/3; len(runes) > shownWidth && start > 0 {
		runes = append([]rune("..."), runes[start+3:]...)
		mark -= start
	}
	if len(runes) > shownWidth {
		runes = append(runes[:shownWidth-3:shownWidth-3], []rune("...")...)
	}
	return string(runes), mark
}

// printGitHub writes the commands by which a workflow marks lines of a change.
func printGitHub(w io.Writer, ms config.Mistakes, strict bool) error {
	for _, m := range ms {
		level := severity(m)
		if strict {
			level = "error"
		}
		var at []string
		if m.Pos.File != "" {
			at = append(at, "file="+escapeProperty(m.Pos.File))
		}
		if m.Pos.Line > 0 {
			at = append(at, fmt.Sprintf("line=%d,col=%d", m.Pos.Line, m.Pos.Column))
		}
		if m.Path != "" {
			at = append(at, "title="+escapeProperty(m.Path))
		}
		text := m.What
		if m.Hint != "" {
			text += "; " + m.Hint
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", level, strings.Join(at, ","), escapeData(text)); err != nil {
			return err
		}
	}
	return nil
}

// escapeData and escapeProperty write text so that a workflow reads it as one
// message, or as one property.
func escapeData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func escapeProperty(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(escapeData(s))
}

// checkResult is the JSON of check. Keys are added, never renamed or removed.
type checkResult struct {
	OK       bool           `json:"ok"`
	Files    []string       `json:"files"`
	Sources  int            `json:"sources"`
	Sinks    int            `json:"sinks"`
	Routes   int            `json:"routes"`
	Mistakes []checkMistake `json:"mistakes"`
}

// checkMistake is one finding. Severity is error or warning, whatever --strict
// makes of warnings.
type checkMistake struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

func newCheckResult(files []string, c *config.Config, ms config.Mistakes, ok bool) checkResult {
	r := checkResult{OK: ok, Files: files, Mistakes: []checkMistake{}}
	if c != nil {
		r.Files, r.Sources, r.Sinks, r.Routes = c.Files, len(c.Sources), len(c.Sinks), len(c.Routes)
	}
	for _, m := range ms {
		r.Mistakes = append(r.Mistakes, checkMistake{
			File: m.Pos.File, Line: m.Pos.Line, Column: m.Pos.Column,
			Path: m.Path, Severity: severity(m), Message: m.What, Hint: m.Hint,
		})
	}
	return r
}
