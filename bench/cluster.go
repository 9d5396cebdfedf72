package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clusterArm begins the names of the arms whose queue is a cluster of three
// NATS servers, each a process of its own beside the server under test.
const clusterArm = "three NATS nodes: "

// natsVariable names the configuration file of the role "nats".
const natsVariable = "PENSTOCK_BENCH_NATS"

func clusterArms() []arm {
	return []arm{
		{clusterArm + "accept", accept(clustered)},
		{clusterArm + "deliver 1 sink", deliver(1, clustered)},
	}
}

// clustered runs Penstock on a fresh cluster that syncs before it answers.
func clustered(urls []string) (_ *child, _ func(), err error) {
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, nil, err
	}
	var nodes []*child
	stop := func() {
		for _, n := range nodes {
			n.stop()
		}
		_ = os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	ports, err := natsPorts(6)
	if err != nil {
		return nil, nil, err
	}
	var servers []string
	for i := range 3 {
		file, err := natsFile(dir, i, ports)
		if err != nil {
			return nil, nil, err
		}
		n, err := start("nats", natsVariable+"="+file)
		if err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, n)
		servers = append(servers, "nats://"+n.addr)
	}
	broker := fmt.Sprintf("{url: %q, replicas: 3, durability: power, dedupe_window: %s, max_bytes: 2GiB}", strings.Join(servers, ","), dedupeWindow)
	c, err := start("penstock", configVariable+"="+configuration(broker, urls))
	if err != nil {
		return nil, nil, err
	}
	return c, func() { c.stop(); stop() }, nil
}

// natsFile writes the configuration of the i-th of three nodes. The first three
// ports are for clients, the others for the nodes among themselves.
func natsFile(dir string, i int, ports []int) (string, error) {
	var routes []string
	for _, p := range ports[3:] {
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", p))
	}
	text := fmt.Sprintf(`server_name: n%d
listen: "127.0.0.1:%d"
max_payload: 2MB
jetstream { store_dir: %q, sync_interval: always, max_file_store: 32GB }
cluster { name: bench, listen: "127.0.0.1:%d", routes: ["%s"] }
`, i, ports[i], filepath.Join(dir, fmt.Sprint("n", i)), ports[3+i], strings.Join(routes, `", "`))
	file := filepath.Join(dir, fmt.Sprintf("n%d.conf", i))
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// natsPorts are free when it returns.
func natsPorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// natsNode is the role "nats".
func natsNode(ctx context.Context) error {
	o, err := server.ProcessConfigFile(os.Getenv(natsVariable))
	if err != nil {
		return err
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not take connections")
	}
	fmt.Println(s.Addr())
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}
