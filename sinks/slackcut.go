package sinks

import (
	"strings"
	"unicode/utf8"
)

// The limits that Slack documents, in characters unless it says otherwise.
const (
	maxSlackText     = 40_000
	maxSectionText   = 3_000
	maxFieldText     = 2_000
	maxHeaderText    = 150
	maxButtonText    = 75
	maxMarkdownText  = 12_000
	maxAltText       = 2_000
	maxURL           = 3_000
	maxBlockID       = 255
	maxBlocks        = 50
	maxFields        = 10
	maxContextParts  = 10
	maxActionParts   = 25
	maxMetadataValue = 256
)

// cutRunes returns at most max characters of s, the last one … if it was cut.
func cutRunes(s string, max int) string {
	if len(s) <= max || utf8.RuneCountInString(s) <= max {
		return s
	}
	return s[:runeOffset(s, max-1)] + "…"
}

// cutText is cutRunes for mrkdwn: it does not cut within an escape (&amp;) nor
// within <...>, which would show as what it is not.
func cutText(s string, max int) string {
	if len(s) <= max || utf8.RuneCountInString(s) <= max {
		return s
	}
	at := runeOffset(s, max-1)
	if open := strings.LastIndexByte(s[:at], '<'); open >= 0 && !strings.Contains(s[open:at], ">") && strings.Contains(s[at:], ">") {
		at = open
	}
	if amp := strings.LastIndexByte(s[:at], '&'); amp >= 0 && at-amp < len("&amp;") && !strings.Contains(s[amp:at], ";") {
		at = amp
	}
	return s[:at] + "…"
}

// runeOffset is where character n of s begins, in bytes.
func runeOffset(s string, n int) int {
	for i := range s {
		if n == 0 {
			return i
		}
		n--
	}
	return len(s)
}
