package sinks

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/delivery"
	"github.com/penstock/penstock/internal/event"
)

func TestGuardAddresses(t *testing.T) {
	t.Parallel()
	const metadata, linkLocal = "metadata", "link-local"
	for name, tt := range map[string]struct {
		addr string
		why  string // part of the error; empty when allowed
	}{
		"AWS, Google, Azure":               {"169.254.169.254", metadata},
		"AWS tasks":                        {"169.254.170.2", metadata},
		"AWS pods":                         {"169.254.170.23", metadata},
		"AWS over IPv6":                    {"fd00:ec2::254", metadata},
		"AWS pods over IPv6":               {"fd00:ec2::23", metadata},
		"Google over IPv6":                 {"fd20:ce::254", metadata},
		"Alibaba":                          {"100.100.100.200", metadata},
		"Oracle":                           {"192.0.0.192", metadata},
		"Azure's host agent":               {"168.63.129.16", metadata},
		"link-local, first":                {"169.254.0.0", linkLocal},
		"link-local, last":                 {"169.254.255.255", linkLocal},
		"below link-local":                 {"169.253.255.255", ""},
		"above link-local":                 {"169.255.0.0", ""},
		"link-local IPv6":                  {"fe80::1", linkLocal},
		"link-local IPv6 with zone":        {"fe80::1%eth0", linkLocal},
		"link-local IPv6, last":            {"febf::1", linkLocal},
		"IPv4-mapped metadata":             {"::ffff:169.254.169.254", metadata},
		"IPv4-mapped with zone":            {"::ffff:169.254.169.254%eth0", metadata},
		"IPv4-compatible metadata":         {"::169.254.169.254", metadata},
		"IPv4-translated metadata":         {"::ffff:0:169.254.169.254", metadata},
		"NAT64 metadata":                   {"64:ff9b::a9fe:a9fe", metadata},
		"NAT64 Alibaba":                    {"64:ff9b::6464:64c8", metadata},
		"NAT64 local by /96":               {"64:ff9b:1::a9fe:a9fe", metadata},
		"NAT64 local by /48":               {"64:ff9b:1:a9fe:a9:fe00::", metadata},
		"6to4 metadata":                    {"2002:a9fe:a9fe::1", metadata},
		"Teredo metadata":                  {"2001:0:4136:e378:8000:63bf:5601:5601", metadata},
		"NAT64 of a public address":        {"64:ff9b::c633:6401", ""},
		"NAT64 local of a public address":  {"64:ff9b:1::c633:6401", ""},
		"unspecified IPv4":                 {"0.0.0.0", "unspecified"},
		"this network":                     {"0.1.2.3", "unspecified"},
		"unspecified IPv6":                 {"::", "unspecified"},
		"IPv4-mapped unspecified":          {"::ffff:0.0.0.0", "unspecified"},
		"multicast IPv4":                   {"224.0.0.1", "multicast"},
		"multicast IPv6":                   {"ff02::1", "multicast"},
		"broadcast":                        {"255.255.255.255", "broadcast"},
		"loopback IPv4, an internal sink":  {"127.0.0.1", ""},
		"loopback IPv6":                    {"::1", ""},
		"private 10/8":                     {"10.1.2.3", ""},
		"private 172.16/12":                {"172.16.0.1", ""},
		"private 192.168/16":               {"192.168.1.1", ""},
		"shared 100.64/10 but for Alibaba": {"100.100.100.201", ""},
		"unique local IPv6":                {"fd12:3456::1", ""},
		"public IPv4":                      {"198.51.100.7", ""},
		"public IPv6":                      {"2606:4700::1111", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 80).String()
			err := Guard{}.control("tcp", address, nil)
			switch {
			case tt.why == "" && err != nil:
				t.Errorf("dial of %s: %v, want it allowed", tt.addr, err)
			case tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)):
				t.Errorf("dial of %s: %v, want it refused as %s", tt.addr, err, tt.why)
			}
		})
	}
}

func TestGuardHosts(t *testing.T) {
	t.Parallel()
	for host, refused := range map[string]bool{
		"metadata.google.internal":   true,
		"METADATA.google.Internal":   true,
		"metadata.google.internal.":  true,
		"metadata.goog":              true,
		"metadata":                   true,
		"instance-data":              true,
		"instance-data.ec2.internal": true,
		"169.254.169.254":            true,
		"[fe80::1]":                  true,
		"::ffff:169.254.169.254":     true,
		"crm.example.com":            false,
		"metadata.azure.internal":    true,
		"metadata.tencentyun.com":    true,
		"metadata.google.internal..": true,
		"ｍetadata.google.internal":   true, // full-width m
		"metadata。google。internal":   true, // ideographic full stops
		"metadata．google．internal":   true, // full-width full stops
		"Ⓜetadata.goog":              true, // circled M
		"metaｄata":                   true,
		"2852039166":                 true,
		"0xa9fea9fe":                 true,
		"0XA9.0xFE.0251.254":         true,
		"0251.0376.0251.0376":        true,
		"169.254.43518":              true,
		"169.16689662":               true,
		"169.254.169.254.":           true,
		"169.254.169.254..":          true,
		"１６９.２５４.１６９.２５４":            true,
		"169。254。169。254":            true,
		"0":                          true,
		"0x0":                        true,
		"00000000000":                true,
		"[::ffff:a9fe:a9fe]":         true,
		"[fe80::1%25eth0]":           true,
		"fe80::1%eth0":               true,
		"64:ff9b::a9fe:a9fe":         true,
		"2130706433":                 false, // 127.0.0.1
		"4294967296":                 false, // no address
		"1.2.3.4.5":                  false,
		"169.254.1.example.com":      false,
		"08.example.com":             false,
		"0x":                         false,
		"metadata.example.com":       false,
		"localhost":                  false,
		"127.0.0.1":                  false,
	} {
		if err := (Guard{}).CheckHost(host); (err != nil) != refused {
			t.Errorf("CheckHost(%q) = %v, want refused %t", host, err, refused)
		}
	}
}

// TestGuardHoldsAtDialTime posts to hosts that only the resolver turns into
// forbidden addresses, past the check of the configuration.
func TestGuardHoldsAtDialTime(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{
		"literal":               "169.254.169.254",
		"IPv4-mapped":           "[::ffff:169.254.169.254]",
		"IPv4-mapped in hex":    "[::ffff:a9fe:a9fe]",
		"link-local, zone":      "[fe80::1%lo]",
		"unspecified":           "0.0.0.0",
		"unspecified IPv6":      "[::]",
		"name":                  "metadata.google.internal",
		"name with capitals":    "Metadata.Google.Internal.",
		"name of the other one": "instance-data",
		"full-width name":       "ｍetadata.google.internal",
		"ideographic stops":     "metadata。google。internal",
		"full-width address":    "１６９.２５４.１６９.２５４",
		"decimal":               "2852039166",
		"octal":                 "0251.0376.0251.0376",
		"hexadecimal":           "0xa9fea9fe",
		"NAT64":                 "[64:ff9b::a9fe:a9fe]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := postPastCheck(t, host, NewTransport(Guard{}))
			var g *guardError
			if delivery.ClassOf(err) != delivery.Refused || !errors.As(err, &g) {
				t.Errorf("POST to %s: %v (%s), want it refused by the guard", host, err, delivery.ClassOf(err))
			}
		})
	}
}

// TestGuardSeesThroughNumbers posts to hosts that some resolvers read as
// numbers. Whether one resolves is up to the system; the address it stands for
// is never dialled.
func TestGuardSeesThroughNumbers(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{
		"decimal":          "2852039166",
		"octal":            "0251.0376.0251.0376",
		"hexadecimal":      "0xa9fea9fe",
		"dotted hex":       "0xa9.0xfe.0xa9.0xfe",
		"three parts":      "169.254.43518",
		"leading zeros":    "169.254.169.0254",
		"full-width":       "１６９.２５４.１６９.２５４",
		"trailing dot":     "169.254.169.254.",
		"unspecified as 0": "0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var dials dialLog
			err := postPastCheck(t, host, newTransport(Guard{}, nil, dials.control))
			if err == nil {
				t.Errorf("POST to %s succeeded", host)
			}
			for _, a := range dials.allowed {
				if a.Unmap() == netip.MustParseAddr("169.254.169.254") || a.IsUnspecified() {
					t.Errorf("POST to %s would have dialled %s", host, a)
				}
			}
		})
	}
}

// TestGuardSeesTheResolvedAddress makes a harmless name resolve to a harmless
// address, and shows that the guard is asked about the address.
func TestGuardSeesTheResolvedAddress(t *testing.T) {
	t.Parallel()
	var dials dialLog
	_ = postPastCheck(t, "localhost", newTransport(Guard{}, nil, dials.control))
	if len(dials.allowed) == 0 || !dials.allowed[0].IsLoopback() {
		t.Errorf("the guard saw %v for localhost, want a loopback address", dials.allowed)
	}
}

// dialLog notes the addresses that the guard allows, and dials none.
type dialLog struct {
	mu      sync.Mutex
	allowed []netip.Addr
}

func (d *dialLog) control(network, address string, c syscall.RawConn) error {
	if err := (Guard{}).control(network, address, c); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowed = append(d.allowed, netip.MustParseAddrPort(address).Addr())
	return errors.New("tests do not dial")
}

// postPastCheck posts to a host that the check of the configuration would
// refuse or not even understand.
func postPastCheck(t *testing.T, host string, rt http.RoundTripper) error {
	t.Helper()
	s, err := openHTTP(config.Sink{Name: "crm"}, httpOptions{
		url:    &url.URL{Scheme: "http", Host: host, Path: "/latest/meta-data"},
		method: http.MethodPost,
	}, Deps{HTTP: rt}.orDefaults())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	return s.Deliver(ctx, event.Event{ID: "1", Body: []byte("{}")})
}
