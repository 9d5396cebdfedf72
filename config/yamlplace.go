package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// suspect is what may be why a text is not YAML, with its place.
type suspect struct {
	line, col  int
	what, hint string
	open       bool // a bracket or a quote that lacks its end, wherever that is missed
}

// suspects reads a text as YAML, as far as quotes, brackets and the beginnings
// of values go, and returns what stands out, in order. The YAML library says
// that a text is wrong, and in which line; a suspect says where and why.
func suspects(data []byte) []suspect {
	s := lexer{text: strings.TrimPrefix(string(data), "\ufeff"), line: 1, col: 1, start: true}
	for s.text != "" && len(s.found) < mostSuspects {
		s.step()
	}
	if len(s.open) > 0 {
		b := s.open[0]
		s.add(b.line, b.col, unclosed(b.letter), "close it, or put quotes around a value that begins with "+string(b.letter))
	}
	return s.found
}

// mostSuspects bounds what is remembered of a text that is no YAML at all.
const mostSuspects = 1000

const notClosed = "is not closed"

func unclosed(letter rune) string { return fmt.Sprintf("this %c "+notClosed, letter) }

// lexer goes through a text.
type lexer struct {
	text      string // what is left
	line, col int
	start     bool // a value or a key may begin here
	indent    int  // of the line
	dashes    int  // list items that were begun in the line
	value     int  // column of the last ": " of the line outside brackets, or 0
	open      []bracket
	found     []suspect
}

// bracket is one that was opened.
type bracket struct {
	letter    rune
	line, col int
}

func (s *lexer) add(line, col int, what, hint string) {
	s.found = append(s.found, suspect{line, col, what, hint, strings.Contains(what, notClosed)})
}

// next reads one letter.
func (s *lexer) next() rune {
	r, size := utf8.DecodeRuneInString(s.text)
	if r == utf8.RuneError && size == 1 {
		s.add(s.line, s.col, "a byte here is not UTF-8", "save the file as UTF-8")
	} else if r != '\n' && r != '\r' && r != '\t' && (unicode.IsControl(r) && r != '\u0085') {
		s.add(s.line, s.col, "a control character here is not allowed", "remove it")
	}
	s.text = s.text[size:]
	s.col++
	if r == '\n' {
		s.line, s.col, s.start = s.line+1, 1, true
		s.indent = len(s.text) - len(strings.TrimLeft(s.text, " "))
		s.dashes, s.value = 0, 0
	}
	return r
}

// step reads one token, or one letter of a plain value.
func (s *lexer) step() {
	line, col, start := s.line, s.col, s.start
	indents := s.col == s.indent+1
	r := s.next()
	switch {
	case r == '\n':
	case r == '\t' && indents:
		s.add(line, col, "a tab indents this line", "indent with spaces, not tabs")
	case r == ' ' || r == '\t' || r == '\r':
		if strings.HasPrefix(s.text, "#") {
			s.comment()
		}
	case r == '#' && start:
		s.comment()
	case s.bracket(r, start, line, col):
	case (r == '"' || r == '\'') && start:
		s.quoted(r, line, col)
	case (r == '|' || r == '>') && start && len(s.open) == 0:
		s.block(r, line, col)
	case (r == '-' || r == '?') && start && s.ends():
		if s.dashes++; r == '-' && s.dashes == maxDepth+1 {
			s.add(line, col, tooDeep, "")
		}
	case r == ':' && s.ends():
		s.colon(line, col)
	case start:
		s.plain(r, line, col)
	}
}

// plain reads the beginning of a value without quotes.
func (s *lexer) plain(r rune, line, col int) {
	s.start = false
	switch rest := word.FindString(s.text); {
	case !strings.ContainsRune("@`%*&!", r):
	case r == '*' && rest != "" && endOfValue.MatchString(s.text[len(rest):]): // an alias
	case (r == '&' || r == '!') && rest != "" && !operator.MatchString(s.text[len(rest):]): // an anchor or a tag
		for range rest {
			s.next()
		}
		s.start = true
	default:
		s.begins(r, line, col)
	}
}

var (
	word       = regexp.MustCompile(`^!?[A-Za-z0-9_-]+`)
	endOfValue = regexp.MustCompile(`^\s*($|#|[,\]}:]|\n)`)
	operator   = regexp.MustCompile(`^(\S|\s*(&&|\|\||[=!]=|[<>] ))`)
	afterValue = regexp.MustCompile(`^[ \t]*($|\r?\n|#|:|[,\]}])`)
)

// begins is what is wrong with a value that begins with a letter that YAML keeps.
func (s *lexer) begins(r rune, line, col int) {
	s.add(line, col, fmt.Sprintf("a value cannot begin with %c here", r), fmt.Sprintf("put quotes around a value that begins with %c", r))
}

var tooDeep = fmt.Sprintf("nested more than %d deep", maxDepth)

// ends reports that a blank or the end of the line follows.
func (s *lexer) ends() bool {
	return s.text == "" || strings.ContainsRune(" \t\r\n", rune(s.text[0])) || len(s.open) > 0 && strings.ContainsRune(",[]{}", rune(s.text[0]))
}

func (s *lexer) comment() {
	for s.text != "" && s.text[0] != '\n' {
		s.next()
	}
}

// bracket reads one that opens where a value may begin, or closes or divides
// within others.
func (s *lexer) bracket(r rune, start bool, line, col int) bool {
	switch {
	case (r == '[' || r == '{') && start:
		if s.open = append(s.open, bracket{r, line, col}); len(s.open) == maxDepth+1 {
			s.add(line, col, tooDeep, "")
		}
	case r == ',' && len(s.open) > 0:
		s.start = true
	case (r == ']' || r == '}') && (len(s.open) > 0 || start):
		s.closes(r, line, col)
		s.start = false
		s.ended("the closing " + string(r))
	default:
		return false
	}
	return true
}

func (s *lexer) closes(r rune, line, col int) {
	opener := map[rune]rune{']': '[', '}': '{'}[r]
	if len(s.open) == 0 {
		s.add(line, col, fmt.Sprintf("this %c closes nothing", r), "remove it, or put quotes around the value")
		return
	}
	last := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	if last.letter != opener {
		s.add(last.line, last.col, fmt.Sprintf("%s before the %c in line %d", unclosed(last.letter), r, line),
			"close it, or put quotes around a value that begins with "+string(last.letter))
	}
}

// quoted reads a value between quotes.
func (s *lexer) quoted(quote rune, line, col int) {
	for s.text != "" {
		switch r := s.next(); {
		case r == '\\' && quote == '"' && s.text != "":
			s.next()
		case r == quote && quote == '\'' && strings.HasPrefix(s.text, "'"):
			s.next()
		case r == quote:
			s.start = false
			what := "the closing quote"
			if s.line > line {
				what = fmt.Sprintf("the quote that closes the one in line %d", line)
			}
			s.ended(what)
			return
		}
	}
	s.add(line, col, "this quote "+notClosed, "close it; within single quotes two stand for one, within double quotes write \\\"")
}

// ended looks for what follows a value that is over.
func (s *lexer) ended(what string) {
	if line, _, _ := strings.Cut(s.text, "\n"); !afterValue.MatchString(line) {
		blanks := len(line) - len(strings.TrimLeft(line, " \t"))
		s.add(s.line, s.col+blanks, "something follows "+what, "put quotes around the whole value; within single quotes two stand for one")
	}
}

// block skips a text whose lines are deeper than the one that begins it.
func (s *lexer) block(r rune, line, col int) {
	head, _, _ := strings.Cut(s.text, "\n")
	head, _, _ = strings.Cut(head, " #")
	if strings.TrimSpace(strings.TrimLeft(head, "+-0123456789")) != "" {
		s.start = false
		s.begins(r, line, col)
		return
	}
	deeper := s.indent
	s.comment()
	for s.text != "" {
		rest, _, _ := strings.Cut(s.text[1:], "\n")
		blanks := len(rest) - len(strings.TrimLeft(rest, " "))
		if strings.TrimSpace(rest) != "" && blanks <= deeper {
			return
		}
		s.next() // the end of the line before
		s.comment()
	}
}

// colon reads what stands between a key and its value.
func (s *lexer) colon(line, col int) {
	if len(s.open) > 0 {
		s.start = true
		return
	}
	if s.value > 0 && s.value < col && !s.start {
		s.add(line, col, "a second colon makes a key of this value", "put quotes around a value with a colon and a blank in it")
	}
	s.value, s.start = col, true
}
