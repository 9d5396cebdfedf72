package broker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/penstock/penstock/config"
)

func TestExamineChangesNothing(t *testing.T) {
	t.Parallel()
	as := guardedServer(t, func(role string, r *Rights) {
		if role == config.RoleRouter {
			r.Publish = slices.DeleteFunc(r.Publish, func(x Right) bool { return x.Subject == deadPrefix+">" })
		}
	})
	examine := func(o Options) Examination {
		t.Helper()
		x, err := Examine(t.Context(), o)
		if err != nil {
			t.Fatalf("Examine: %v", err)
		}
		return x
	}
	for range 2 { // the second would find what the first had made
		x := examine(as(config.RoleConsole))
		if !x.Looked || len(x.Streams) != len(ourStreams()) || !x.Streams[0].Missing {
			t.Errorf("before provisioning: %+v, want every stream missing", x)
		}
	}
	provisioned(t, as(RoleProvisioner))
	x := examine(as(config.RoleConsole))
	if len(x.Streams) > 0 || x.Unfit != nil || x.Rights[0].Err != nil || x.Skew.Abs() > time.Minute || x.Version == "" {
		t.Errorf("after provisioning: %+v", x)
	}
	larger := as(config.RoleConsole)
	larger.Config.MaxBytes *= 2
	if x := examine(larger); len(x.Streams) == 0 || x.Streams[0].Missing || !slices.Contains(x.Streams[0].Differs, "bytes") {
		t.Errorf("with larger streams: %+v", x)
	}
	if x := examine(as(config.RoleIngress)); x.Looked || len(x.Rights) != 1 || x.Rights[0].Err != nil {
		t.Errorf("as the ingress: %+v", x)
	}
	if x := examine(as(config.RoleRouter)); len(x.Rights) != 1 || x.Rights[0].Err == nil || !strings.Contains(x.Rights[0].Err.Error(), "penstock.dead.>") {
		t.Errorf("as a router that may not bury: %+v", x)
	}
	huge := as(config.RoleConsole)
	huge.MaxBody = 8 << 20
	if x := examine(huge); x.Unfit == nil || !strings.Contains(x.Unfit.Error(), "max_payload") {
		t.Errorf("with large bodies: %+v", x)
	}
	nobody := as(config.RoleConsole)
	nobody.Config.URL = "nats://127.0.0.1:1"
	if _, err := Examine(t.Context(), nobody); err == nil || !strings.Contains(err.Error(), "no server answers") {
		t.Errorf("Examine of nobody = %v", err)
	}
}

func TestServersSayHowTheySync(t *testing.T) {
	t.Parallel()
	for name, always := range map[string]bool{"always": true, "every minute": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := nkeys.CreateUser()
			if err != nil {
				t.Fatal(err)
			}
			public, _ := key.PublicKey()
			seed, _ := key.Seed()
			file := filepath.Join(t.TempDir(), "sys.nk")
			if err := os.WriteFile(file, seed, 0o600); err != nil {
				t.Fatal(err)
			}
			sys, other := server.NewAccount("SYS"), server.NewAccount("OTHER")
			url := startServer(t, &server.Options{
				ServerName: "n1", JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true,
				SyncAlways: always, SyncInterval: time.Minute, Accounts: []*server.Account{sys, other}, SystemAccount: "SYS",
				Nkeys: []*server.NkeyUser{{Nkey: public, Account: sys}}, Users: []*server.User{{Username: "u", Password: "pw", Account: other}},
			})
			o := testOptions(t, "")
			o.Config.URL, o.Config.NKeyFile = strings.Replace(url, "nats://", "nats://u:pw@", 1), file
			got, err := ServerSyncs(t.Context(), o)
			if err != nil || len(got) != 1 || got[0].Name != "n1" || got[0].Always != always || !always && got[0].Every != time.Minute {
				t.Errorf("ServerSyncs = %+v, %v", got, err)
			}
		})
	}
}

func TestTrySyncLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if took, err := TrySync(dir); err != nil || took <= 0 {
		t.Errorf("TrySync = %s, %v", took, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := TrySync(filepath.Join(dir, "none")); err == nil {
		t.Error("TrySync of no folder succeeds")
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if used, err := InUse(dir); used || err != nil {
		t.Errorf("InUse of an empty folder = %t, %v", used, err)
	}
	open(t, testOptions(t, dir))
	if used, err := InUse(dir); !used || err == nil || !strings.Contains(err.Error(), "in use by another penstock") {
		t.Errorf("InUse while open = %t, %v", used, err)
	}
}
