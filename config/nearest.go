package config

import "strings"

// Nearest returns the one of known that word was most likely meant to be, or
// "" when none is close: at most a third of the letters (and at least one) may
// be missing, extra, wrong or swapped with a neighbour. Case does not count.
// The first of equally near ones wins.
func Nearest(word string, known []string) string {
	const longest = 200 // the cost is the product of the lengths
	if word == "" || len(word) > longest {
		return ""
	}
	best, bestAt := "", max(1, len(word)/3)+1
	for _, k := range known {
		if len(k) > longest || abs(len(k)-len(word)) >= bestAt {
			continue
		}
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestAt && d < len(k) {
			best, bestAt = k, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }

// distance counts the edits between a and b, a swap of neighbours as one.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
