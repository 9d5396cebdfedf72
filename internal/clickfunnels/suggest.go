package clickfunnels

import "strings"

// Match returns the entries whose subject the NATS pattern matches, in the
// order of Entries; with versions, only those sent in one of them. An alias
// has the subject of its listed type and is returned with it. An invalid
// pattern matches nothing.
func (c *Catalog) Match(pattern string, versions ...int) []Entry {
	var out []Entry
	want := strings.Split(pattern, ".")
	for _, e := range c.entries {
		if matches(want, strings.Split(e.Subject, ".")) && sentInAny(e, versions) {
			out = append(out, e)
		}
	}
	return out
}

func sentInAny(e Entry, versions []int) bool {
	for _, v := range versions {
		if e.SentIn(v) {
			return true
		}
	}
	return len(versions) == 0
}

// matches applies the rules of NATS: '*' is any one token, '>' as the last
// token is one or more of them.
func matches(pattern, subject []string) bool {
	for i, want := range pattern {
		switch {
		case want == ">":
			return i == len(pattern)-1 && len(subject) > i
		case i >= len(subject), want != "*" && want != subject[i]:
			return false
		}
	}
	return len(pattern) == len(subject)
}

// Suggest returns the known subject that s, a type, a subject or a pattern,
// most likely means, or "" when nothing is near. Other spellings, missing
// leading words and small slips are understood; case does not matter. Types
// that may not be sent at all (Old, Weak) are not suggested.
func (c *Catalog) Suggest(s string) string {
	asked := strings.Split(strings.ToLower(dots(s)), ".")
	best, bestCost := "", nearEnough(strings.Join(asked, "."))+1
	for _, e := range c.entries {
		if e.Kind == Old || e.Kind == Weak {
			continue
		}
		for _, spelling := range [...]string{e.Subject, dots(e.Type)} {
			if cost := distance(asked, strings.Split(spelling, ".")); cost < bestCost {
				best, bestCost = e.Subject, cost
			}
		}
	}
	if best == "" {
		best = c.endingIn(strings.Join(asked, "."))
	}
	return best
}

// nearEnough is how many letters may differ for s to be a slip.
func nearEnough(s string) int { return max(2, len(s)/5) }

// endingIn returns the shortest subject that ends in the tokens of s, or "".
func (c *Catalog) endingIn(s string) string {
	best := ""
	for _, e := range c.entries {
		if strings.HasSuffix(e.Subject, "."+s) && (best == "" || len(e.Subject) < len(best)) {
			best = e.Subject
		}
	}
	return best
}

// distance is how many letters separate pattern from subject when every
// wildcard stands for just what subject has in its place.
func distance(pattern, subject []string) int {
	filled := make([]string, 0, len(pattern)+len(subject))
	for i, token := range pattern {
		if token == ">" && i < len(subject) {
			filled = append(filled, subject[i:]...)
			break
		}
		if token == "*" && i < len(subject) {
			token = subject[i]
		}
		filled = append(filled, token)
	}
	return levenshtein(strings.Join(filled, "."), strings.Join(subject, "."))
}

// levenshtein counts the bytes to insert, remove or replace to get from a to b.
func levenshtein(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
