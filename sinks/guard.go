package sinks

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// Guard says what may be dialled. The zero Guard keeps requests away from
// link-local addresses and from the metadata services of clouds, which hand
// credentials to whoever asks, also when such an address is wrapped in an IPv6
// one. Loopback and private addresses are allowed: internal services live there.
// A Guard is a value and may be used concurrently.
type Guard struct {
	// PublicOnly refuses every address that is not public as well. It is for
	// hosts that an event may choose.
	PublicOnly bool
}

// guardError is a dial that the guard refused. It is a mistake in the
// configuration or in DNS, not a failure of the receiver.
type guardError struct {
	target string // an address or a host name
	why    string
}

func (e *guardError) Error() string {
	return fmt.Sprintf("%s is %s and never dialled; point the sink at a service of yours", e.target, e.why)
}

// metadataNames are the names under which metadata services are found.
var metadataNames = []string{
	"metadata.google.internal",
	"metadata.goog",
	"metadata",
	"metadata.azure.internal",
	"metadata.tencentyun.com",
	"instance-data",
	"instance-data.ec2.internal",
}

// CheckHost returns an error if host, a name or a literal address without a
// port, may not be dialled. It does not resolve names: CheckAddr does the rest
// when the address is known.
func (g Guard) CheckHost(host string) error {
	name := plainHost(host)
	if a, ok := hostAddr(name); ok {
		return g.CheckAddr(a)
	}
	if slices.Contains(metadataNames, name) {
		return &guardError{target: name, why: "a cloud metadata service"}
	}
	return nil
}

// CheckAddr returns an error if a may not be dialled.
func (g Guard) CheckAddr(a netip.Addr) error {
	for _, inner := range embedded(a) {
		why := forbidden(inner)
		if why == "" && g.PublicOnly && !public(inner) {
			why = "not a public address"
		}
		if why != "" {
			return &guardError{target: a.String(), why: why}
		}
	}
	return nil
}

// control is a net.Dialer.Control: it sees the resolved address of every
// dial, after DNS, so that a name cannot be turned against us later.
func (g Guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &guardError{target: address, why: "not an IP address with a port"}
	}
	return g.CheckAddr(ap.Addr())
}

// forbiddenNets are refused, with the reason as an error text says it.
var forbiddenNets = []struct {
	prefix netip.Prefix
	why    string
}{
	// Metadata services first, so that the reason is the one that helps.
	{netip.MustParsePrefix("169.254.169.254/32"), metadataWhy},
	{netip.MustParsePrefix("169.254.170.2/32"), metadataWhy},   // AWS, tasks
	{netip.MustParsePrefix("169.254.170.23/32"), metadataWhy},  // AWS, pods
	{netip.MustParsePrefix("fd00:ec2::/32"), metadataWhy},      // AWS over IPv6: .254 and the pods' .23
	{netip.MustParsePrefix("fd20:ce::254/128"), metadataWhy},   // Google over IPv6
	{netip.MustParsePrefix("100.100.100.200/32"), metadataWhy}, // Alibaba
	{netip.MustParsePrefix("192.0.0.192/32"), metadataWhy},     // Oracle
	{netip.MustParsePrefix("168.63.129.16/32"), metadataWhy},   // Azure's host agent
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "a broadcast address"},
}

// reservedNets are the addresses that Go takes for public and that are not, by
// the registries of special-purpose addresses of RFC 6890. Those that wrap an
// IPv4 address are among them: where they lead is up to a gateway.
var reservedNets = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0:0/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

// public reports an address that is reached over the internet. a is unmapped
// and has no zone.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(reservedNets, func(p netip.Prefix) bool { return p.Contains(a) })
}

const metadataWhy = "a cloud metadata address"

func forbidden(a netip.Addr) string {
	for _, f := range forbiddenNets {
		if f.prefix.Contains(a) {
			return f.why
		}
	}
	return ""
}

// wrappings are the IPv6 prefixes whose addresses hold an IPv4 address that
// a gateway or the kernel may dial in the end.
var wrappings = []struct {
	prefix netip.Prefix
	inner  func([16]byte) uint32
}{
	{netip.MustParsePrefix("::/96"), lastFour},           // IPv4-compatible
	{netip.MustParsePrefix("::ffff:0:0:0/96"), lastFour}, // IPv4-translated
	{netip.MustParsePrefix("64:ff9b::/96"), lastFour},    // NAT64
	{netip.MustParsePrefix("64:ff9b:1::/48"), lastFour},  // NAT64, local, by /96
	{netip.MustParsePrefix("64:ff9b:1::/48"), afterSix},  // NAT64, local, by /48
	{netip.MustParsePrefix("2002::/16"), sixToFour},
	{netip.MustParsePrefix("2001::/32"), teredo},
}

func lastFour(b [16]byte) uint32 { return binary.BigEndian.Uint32(b[12:]) }

// afterSix reads an IPv4 address that follows a 48-bit prefix; byte 8 is
// always zero in such an address.
func afterSix(b [16]byte) uint32 {
	return binary.BigEndian.Uint32([]byte{b[6], b[7], b[9], b[10]})
}
func sixToFour(b [16]byte) uint32 { return binary.BigEndian.Uint32(b[2:]) }
func teredo(b [16]byte) uint32    { return ^binary.BigEndian.Uint32(b[12:]) }

// embedded returns a, plain, and every IPv4 address that it may stand for.
func embedded(a netip.Addr) []netip.Addr {
	a = a.Unmap().WithZone("")
	all := []netip.Addr{a}
	if a.Is4() || a == netip.IPv6Loopback() || a.IsUnspecified() {
		return all
	}
	for _, w := range wrappings {
		if !w.prefix.Contains(a) {
			continue
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], w.inner(a.As16()))
		// Zeros are what a wrapping of another shape has in this place.
		if b[0] != 0 {
			all = append(all, netip.AddrFrom4(b))
		}
	}
	return all
}
