package app

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
)

// freePort is freePorts of one, as text.
func freePort(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(freePorts(t, 1)[0])
}

// freePorts returns ports of 127.0.0.1 that are free, and stay so until they
// are listened on, for what takes an address and no listener, or comes back to
// the address it had. They lie below those that the kernel gives to whoever
// asks for any, are even, and the UDP port one above, held until the test ends,
// tells all who use this function, in other processes too, that one is taken.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	const lowest = 10_000
	highest := 32_768 // where Linux begins to give ports, unless it says otherwise
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &highest)
	}
	if highest < lowest+2000 {
		highest = 32_768
	}
	var out []int
	for range 10_000 {
		if len(out) == n {
			return out
		}
		port := lowest + 2*rand.IntN((highest-lowest)/2)
		mark, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			mark.Close()
			continue
		}
		l.Close()
		t.Cleanup(func() { mark.Close() })
		out = append(out, port)
	}
	t.Fatalf("%d ports of %d are free", len(out), n)
	return nil
}
