package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// elsewhere sets up what an example delivers to when that is neither the HTTP
// receiver nor the standard output. It returns values for the example's
// variables, and what returns the ids of the events that have arrived.
func elsewhere(t *testing.T, example string) (values map[string]string, arrived func() []string) {
	t.Helper()
	switch example {
	case "nats.yaml":
		return natsPlace(t)
	case "log-file.yaml":
		return filePlace(t)
	}
	return nil, func() []string { return nil }
}

func filePlace(t *testing.T) (map[string]string, func() []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	return map[string]string{"ARCHIVE_FILE": file}, func() []string {
		data, _ := os.ReadFile(file) // it is not there before the first event
		var ids []string
		for line := range strings.Lines(string(data)) {
			var l struct{ ID string }
			if json.Unmarshal([]byte(line), &l) == nil {
				ids = append(ids, l.ID)
			}
		}
		return ids
	}
}

func natsPlace(t *testing.T) (map[string]string, func() []string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		ServerName: "shop", JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
		Username: "penstock", Password: testSecret, MaxPayload: 2 << 20, JetStreamMaxStore: 1 << 30,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(time.Minute) {
		t.Fatal("the team's NATS server is not ready within a minute")
	}
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("penstock", testSecret))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SHOP", Subjects: []string{"shop.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"SHOP_NATS": srv.ClientURL(), "SHOP_NATS_PASSWORD": testSecret}, func() []string {
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for seq := range info.State.LastSeq {
			m, err := stream.GetMsg(t.Context(), seq+1)
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject != "shop.orders.invoice.paid" {
				t.Errorf("published on %s", m.Subject)
			}
			ids = append(ids, m.Header.Get("Ce-Id"))
		}
		return ids
	}
}
