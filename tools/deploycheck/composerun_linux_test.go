package deploycheck

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

const composeConfig = "/etc/penstock/penstock.yaml"

// composeScenario is docker compose --profile s3 up, and one event.
func composeScenario(dir string) error {
	names := map[string]string{"receiver": "127.0.0.1", "s3": "127.0.0.1", "penstock": "127.0.0.1"}
	return inside(dir, names, func(h *host) error {
		for _, name := range []string{"secrets", "bucket"} {
			if err := h.complete(name); err != nil {
				return err
			}
		}
		if err := keepsSecrets(h, dir); err != nil {
			return err
		}
		for _, name := range []string{"s3", "receiver"} {
			if _, err := h.healthy(name); err != nil {
				return err
			}
		}
		r, err := h.healthy("penstock")
		if err != nil {
			return err
		}
		if err := sendAndSee(h, "penstock"); err != nil {
			return err
		}
		if err := until("the bucket has an object", func() error { return stored(dir) }); err != nil {
			return err
		}
		if out, err := h.exec("penstock", "/penstock", "sinks", "ls", "-c", composeConfig); err != nil {
			return fmt.Errorf("the admin API: %w", err)
		} else if err := has(out, "lake"); err != nil {
			return err
		}
		return r.terminate()
	})
}

// keepsSecrets starts the container again, as the next docker compose up does.
func keepsSecrets(h *host, dir string) error {
	before, err := secretSums(dir)
	if err != nil {
		return err
	}
	if err := h.complete("secrets"); err != nil {
		return err
	}
	after, err := secretSums(dir)
	if err == nil && (before != after || strings.Count(before, "\n") < 5) {
		err = fmt.Errorf("a second start changes the secrets:\n%s\nto\n%s", before, after)
	}
	return err
}

// secretSums are the names, modes and hashes of the secrets; none may be read
// by others.
func secretSums(dir string) (string, error) {
	var out strings.Builder
	err := filepath.WalkDir(filepath.Join(dir, "volumes"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(name, "secrets/") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && (info.Mode().Perm() != 0o400 || len(data) < 20) {
			err = fmt.Errorf("%s has the mode %s and %d bytes", name, info.Mode(), len(data))
		}
		fmt.Fprintf(&out, "%s %x\n", name, sha256.Sum256(data))
		return err
	})
	return out.String(), err
}

// sendAndSee sends a signed event from within a container and looks at the
// receiver's page for it.
func sendAndSee(h *host, name string) error {
	if _, err := h.exec(name, "/penstock", "send", "orders/invoice.paid", "-c", composeConfig); err != nil {
		return err
	}
	return until("the receiver shows the event", func() error {
		page, err := get("http://receiver:9000/")
		if err != nil {
			return err
		}
		return has(page, "<h2>orders.invoice.paid</h2>")
	})
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: patience / 4}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

func stored(dir string) error {
	found := errors.New("found")
	err := filepath.WalkDir(filepath.Join(dir, "volumes/objects/buckets/penstock-events"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".ndjson.gz") {
			return found
		}
		return err
	})
	if errors.Is(err, found) {
		return nil
	}
	return errors.Join(errors.New("the bucket is empty"), err)
}

// clusterScenario is docker compose --profile cluster up, and one event.
func clusterScenario(dir string) error {
	names := map[string]string{"receiver": "127.0.0.1", "ingress": "127.0.0.1"}
	for i := range 3 {
		names[fmt.Sprintf("nats-%d", i+1)] = fmt.Sprintf("127.0.1.%d", i+1)
	}
	return inside(dir, names, func(h *host) error {
		for _, name := range []string{"secrets", "cluster-secrets", "cluster-secrets"} { // the second time it keeps them
			if err := h.complete(name); err != nil {
				return err
			}
		}
		stop, err := startNodes(h, dir, names)
		defer stop()
		if err != nil {
			return err
		}
		if err := h.complete("provision"); err != nil {
			return err
		}
		for _, name := range []string{"receiver", "ingress", "console"} {
			if _, err := h.healthy(name); err != nil {
				return err
			}
		}
		router, err := h.start("router")
		if err != nil {
			return err
		}
		if err := sendAndSee(h, "ingress"); err != nil {
			return err
		}
		if strings.Contains(h.logs(), "ermissions") { // of a role that may not do what it has to
			return errors.New("a role is refused by the nodes")
		}
		return router.terminate()
	})
}

// startNodes starts the servers of the file, as the library does that is in
// their image, each on an address of its own.
func startNodes(h *host, dir string, names map[string]string) (stop func(), err error) {
	var nodes []*server.Server
	stop = func() {
		for _, n := range nodes {
			n.Shutdown()
			n.WaitForShutdown()
		}
	}
	for i := range 3 {
		name := fmt.Sprintf("nats-%d", i+1)
		o, err := nodeOptions(h, dir, name)
		if err != nil {
			return stop, err
		}
		o.Host, o.HTTPHost, o.Cluster.Host = names[name], names[name], names[name]
		o.StoreDir, o.NoSigs, o.NoLog = filepath.Join(dir, name), true, true
		n, err := server.NewServer(o)
		if err != nil {
			return stop, fmt.Errorf("%s: %w", name, err)
		}
		nodes = append(nodes, n)
		n.Start()
	}
	for i := range nodes {
		name := fmt.Sprintf("nats-%d", i+1)
		check := h.plan[name].Health
		url := strings.ReplaceAll(check[len(check)-1], "127.0.0.1", names[name])
		if err := until(name+" is healthy", func() error { _, err := get(url); return err }); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// nodeOptions reads nats.conf where the container has it, with what lies beside.
func nodeOptions(h *host, dir, name string) (*server.Options, error) {
	root := filepath.Join(dir, "node-"+name)
	for _, b := range h.plan[name].Binds {
		if b.To == "/opt/tools" || b.To == "/data" {
			continue
		}
		at := filepath.Join(root, b.To)
		if err := mountPoint(b.From, at); err != nil {
			return nil, err
		}
		if err := bindMount(bind{From: b.From, To: at}); err != nil {
			return nil, err
		}
	}
	for _, e := range h.plan[name].Env {
		key, value, _ := strings.Cut(e, "=")
		if key != "PATH" {
			os.Setenv(key, value)
		}
	}
	args := h.plan[name].Args
	return server.ProcessConfigFile(filepath.Join(root, args[len(args)-1]))
}
