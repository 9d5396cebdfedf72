package main

import (
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
)

// natsServer implements the script command
//
//	nats CONF VARIABLE
//
// which starts a NATS server with the configuration file CONF, on a free port
// of 127.0.0.1 and until the script ends, and sets VARIABLE to its address.
func natsServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nats CONF VARIABLE")
	}
	opts, err := server.ProcessConfigFile(ts.MkAbs(args[0]))
	ts.Check(err)
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", -1, true, true
	opts.JetStream, opts.StoreDir, opts.JetStreamMaxStore = true, ts.MkAbs("nats-data"), 16<<30
	srv, err := server.NewServer(opts)
	ts.Check(err)
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		ts.Fatalf("the NATS server is not ready within %s", patience.Round(time.Second))
	}
	ts.Defer(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	ts.Setenv(args[1], srv.Addr().(*net.TCPAddr).String())
}
