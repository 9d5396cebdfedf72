package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// reservePort implements the script command
//
//	port VARIABLE
//
// which sets VARIABLE to an address of 127.0.0.1 that is free, and that nobody
// else takes until the script ends, for a server that comes back to it. It lies
// below the ports that the kernel gives to whoever asks for any, is even, and
// the UDP port one above, held until then, tells other tests that it is taken.
func reservePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port VARIABLE")
	}
	const lowest = 10_000
	highest := 32_768 // where Linux begins to give ports, unless it says otherwise
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &highest)
	}
	if highest < lowest+2000 {
		highest = 32_768
	}
	for range 10_000 {
		port := lowest + 2*rand.IntN((highest-lowest)/2)
		mark, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			continue
		}
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err != nil {
			mark.Close()
			continue
		}
		l.Close()
		ts.Defer(func() { mark.Close() })
		ts.Setenv(args[0], address)
		return
	}
	ts.Fatalf("no port is free")
}
