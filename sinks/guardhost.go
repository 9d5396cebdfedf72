package sinks

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// plainHost returns a host as it is looked up: without brackets, in lower-case
// ASCII, full-width letters and dots made plain, without dots at its end.
func plainHost(host string) string {
	host = strings.Trim(host, "[]")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return strings.ToLower(strings.TrimRight(host, "."))
}

// hostAddr returns the address that a host stands for by itself, in any way in
// which some resolver reads one: 2852039166, 0xa9fea9fe, 0251.0376.0251.0376.
func hostAddr(host string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a, true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		n, ok := number(part)
		last := i == len(parts)-1
		switch {
		case !ok, !last && n > 0xFF, last && n >= 1<<(8*(5-len(parts))):
			return netip.Addr{}, false
		case last:
			sum |= n
		default:
			sum |= n << (8 * (3 - i))
		}
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// number reads a part of an address as C does: 0x for hexadecimal, 0 for octal.
func number(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, 32)
	return n, err == nil
}
