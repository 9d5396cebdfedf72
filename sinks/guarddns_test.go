package sinks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/penstock/penstock/internal/delivery"
)

// nameServer is a DNS server whose answers change: the first for the first
// lookup of a name, and so on, the last for all after it.
type nameServer struct {
	conn    net.PacketConn
	mu      sync.Mutex
	answers [][]string
	asked   int
}

func newNameServer(t *testing.T, answers ...[]string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn, answers: answers}
	var wg sync.WaitGroup
	wg.Go(s.serve)
	t.Cleanup(func() { conn.Close(); wg.Wait() })
	return s
}

// resolver asks the server and nobody else.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.Authoritative, m.Additionals = true, true, nil
		m.Answers = s.answer(m.Questions[0])
		if packed, err := m.Pack(); err == nil {
			_, _ = s.conn.WriteTo(packed, from) // who asked asks again
		}
	}
}

// answer counts the lookups by the questions for IPv4 addresses.
func (s *nameServer) answer(q dnsmessage.Question) (out []dnsmessage.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.answers[min(s.asked, len(s.answers)-1)]
	if q.Type == dnsmessage.TypeA {
		s.asked++
	}
	for _, text := range now {
		a := netip.MustParseAddr(text)
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			out = append(out, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			out = append(out, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return out
}

// TestGuardWithNames posts twice to a name, with the answers that the DNS gives
// to one lookup and to the next.
func TestGuardWithNames(t *testing.T) {
	t.Parallel()
	const metadata = "169.254.169.254"
	good := []string{"127.0.0.1"}
	for name, tt := range map[string]struct {
		guard   Guard
		answers [][]string
		want    []delivery.Class // of one attempt after the other
	}{
		"a good name":               {answers: [][]string{good}, want: []delivery.Class{"", ""}},
		"rebinding":                 {answers: [][]string{good, {metadata}}, want: []delivery.Class{"", delivery.Refused}},
		"rebinding, and back":       {answers: [][]string{{metadata}, good}, want: []delivery.Class{delivery.Refused, ""}},
		"the good one of two":       {answers: [][]string{{metadata, "127.0.0.1"}}, want: []delivery.Class{"", ""}},
		"unspecified":               {answers: [][]string{{"0.0.0.0"}}, want: []delivery.Class{delivery.Refused}},
		"Alibaba":                   {answers: [][]string{{"100.100.100.200"}}, want: []delivery.Class{delivery.Refused}},
		"Oracle":                    {answers: [][]string{{"192.0.0.192"}}, want: []delivery.Class{delivery.Refused}},
		"Azure's host agent":        {answers: [][]string{{"168.63.129.16"}}, want: []delivery.Class{delivery.Refused}},
		"IPv6 of AWS":               {answers: [][]string{{"fd00:ec2::254"}}, want: []delivery.Class{delivery.Refused}},
		"IPv4-mapped":               {answers: [][]string{{"::ffff:169.254.169.254"}}, want: []delivery.Class{delivery.Refused}},
		"NAT64":                     {answers: [][]string{{"64:ff9b::a9fe:a9fe"}}, want: []delivery.Class{delivery.Refused}},
		"link-local IPv6":           {answers: [][]string{{"fe80::1"}}, want: []delivery.Class{delivery.Refused}},
		"public only, loopback":     {guard: Guard{PublicOnly: true}, answers: [][]string{good}, want: []delivery.Class{delivery.Refused}},
		"public only, private":      {guard: Guard{PublicOnly: true}, answers: [][]string{{"10.0.0.1"}}, want: []delivery.Class{delivery.Refused}},
		"public only, unique local": {guard: Guard{PublicOnly: true}, answers: [][]string{{"fd12::1"}}, want: []delivery.Class{delivery.Refused}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
			_, port, err := net.SplitHostPort(r.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			var dialled dialNotes
			names := newNameServer(t, tt.answers...)
			transport := newTransport(tt.guard, names.resolver(), dialled.after(tt.guard))
			for i, want := range tt.want {
				err := postPastCheck(t, "crm.example.com:"+port, transport)
				if got := delivery.ClassOf(err); got != want {
					t.Errorf("attempt %d: %v, class %q, want %q", i+1, err, got, want)
				}
				var g *guardError
				if want == delivery.Refused && !errors.As(err, &g) {
					t.Errorf("attempt %d: %v, want it refused by the guard", i+1, err)
				}
			}
			for _, a := range dialled.all {
				if !strings.HasPrefix(a, "127.0.0.1:") {
					t.Errorf("%s was dialled", a)
				}
			}
		})
	}
}

// dialNotes notes what is dialled once the guard has allowed it.
type dialNotes struct {
	mu  sync.Mutex
	all []string
}

func (d *dialNotes) after(g Guard) func(network, address string, c syscall.RawConn) error {
	return func(network, address string, c syscall.RawConn) error {
		if err := g.control(network, address, c); err != nil {
			return err
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all = append(d.all, address)
		return nil
	}
}

// TestRedirectsLeadNowhere has receivers redirect to what the guard forbids and
// to what it allows: neither is followed.
func TestRedirectsLeadNowhere(t *testing.T) {
	t.Parallel()
	other := newReceiver(t, nil)
	for _, to := range []string{"http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", other.URL, "//" + other.Listener.Addr().String(), "/again"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			r := newReceiver(t, status(code, to))
			err := openSink(t, "http", "url: "+r.URL, Deps{}).Deliver(within(t, longEnough), sampleEvent())
			checkFailure(t, err, delivery.Refused, "redirects are not followed")
			if n := len(r.posted(t)); n != 1 {
				t.Errorf("%d to %s: %d requests, want one", code, to, n)
			}
		}
	}
	if n := len(other.posted(t)); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:4700::1111": true, "64:ff9b::808:808": true, "1.0.0.1": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.0.1": false,
		"100.64.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"240.0.0.1": false, "255.255.255.255": false, "0.0.0.0": false, "224.0.0.1": false, "169.254.1.1": false,
		"::1": false, "::": false, "fd00::1": false, "fe80::1": false, "fec0::1": false, "2001:db8::1": false, "ff02::1": false,
		"::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "64:ff9b::a00:1": false, "64:ff9b:1::808:808": false,
		"2002:a00:1::": false, "2001::1": false, "::10.0.0.1": false,
	} {
		if err := (Guard{PublicOnly: true}).CheckAddr(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("CheckAddr(%s) = %v, want allowed %t", addr, err, want)
		}
	}
}
