package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/config"
	"github.com/penstock/penstock/internal/broker"
	"github.com/penstock/penstock/internal/clickfunnels"
)

// dataDir is where events are, or what will be their parent: the nearest
// folder that exists.
func (p *patient) dataDir() (dir string, exists bool) {
	dir, err := filepath.Abs(p.c.Broker.DataDir)
	if err != nil {
		dir = p.c.Broker.DataDir
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, true
	}
	for dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if _, err := os.Stat(dir); err == nil {
			break
		}
	}
	return dir, false
}

func checkData(_ context.Context, p *patient) []Finding {
	dir, exists := p.dataDir()
	disk, err := broker.DiskOf(dir)
	if err != nil {
		return failed("set broker.data_dir to a folder that can be read", "%s: %v", dir, err)
	}
	on := ""
	if disk.FileSystem != "" {
		on = " on " + disk.FileSystem
	}
	if _, err := broker.TrySync(dir); err != nil {
		return failed("let the user who serves write there, or set broker.data_dir to another folder", "%s cannot be written: %v", dir, err)
	}
	var out []Finding
	switch {
	case disk.Volatile && p.c.Broker.Durability != config.Process:
		out = failed("set broker.data_dir to a folder on a disk", "%s is%s, which a restart of the machine empties", dir, on)
	case disk.Volatile:
		out = warn("set broker.data_dir to a folder on a disk", "%s is%s, which a restart of the machine empties", dir, on)
	case disk.Network:
		out = warn("use a disk of this machine: what a sync promises there is up to another", "%s is%s, which is not a disk of this machine", dir, on)
	case !exists:
		out = good("%s does not exist yet; %s%s can be written", p.c.Broker.DataDir, dir, on)
	default:
		out = good("%s%s can be written", dir, on)
	}
	if used, err := broker.InUse(dir); used && p.status == nil {
		out = append(out, warn("ask it by --server URL, with PENSTOCK_TOKEN", "%v", err)...)
	}
	return out
}

func checkRoom(_ context.Context, p *patient) []Finding {
	dir, _ := p.dataDir()
	disk, err := broker.DiskOf(dir)
	if err != nil {
		return failed("set broker.data_dir to a folder that can be read", "%s: %v", dir, err)
	}
	planned := int64(p.c.Broker.MaxBytes)
	if p.status != nil {
		planned = 0 // part of it is taken already, which the process watches
	}
	return judgeRoom(dir, disk, planned)
}

// judgeRoom says whether a disk has room for planned bytes of events; 0: as
// much as there is.
func judgeRoom(dir string, disk broker.Disk, planned int64) []Finding {
	free := inBytes(disk.Free)
	switch {
	case disk.Free < broker.LeastRoom:
		return failed("free some, or set broker.data_dir to another disk", "%s free for %s; at least %s is needed", free, dir, inBytes(broker.LeastRoom))
	case disk.Total > 0 && disk.Free < disk.Total/10:
		return warn("free some: a full disk stops the event store", "%s free for %s, less than a tenth of %s", free, dir, inBytes(disk.Total))
	case planned > disk.Free:
		return warn("free some, or lower broker.max_bytes", "%s free for %s, and broker.max_bytes is %s", free, dir, inBytes(planned))
	}
	return good("%s free for %s", free, dir)
}

func inBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}

const (
	// quickSync is below what any disk takes that waits for its medium, slowSync
	// above what a sender should wait for.
	quickSync = 15 * time.Microsecond
	slowSync  = 50 * time.Millisecond
)

func checkDurability(ctx context.Context, p *patient) []Finding {
	if p.c.Broker.URL != "" {
		return p.clusterDurability(ctx)
	}
	dir, _ := p.dataDir()
	took, err := broker.TrySync(dir)
	if errors.Is(err, fs.ErrPermission) {
		return skipped("%s cannot be written", dir)
	}
	if err != nil {
		return failed("set broker.data_dir to a folder on a disk that can be synced", "%s cannot be synced: %v", dir, err)
	}
	return judgeSync(p.c.Broker.Durability, took)
}

// judgeSync says what a measured sync means for a durability.
func judgeSync(d config.Durability, took time.Duration) []Finding {
	rounded := took.Round(time.Microsecond)
	switch {
	case d == config.Process:
		return good("process: a 2xx survives a crash of penstock and no power cut (measured: a sync would take %s)", rounded)
	case took < quickSync:
		return warn("put broker.data_dir on a disk that waits for its medium, or one whose cache survives a power cut", "%s: measured, a sync takes %s: too quick to have reached a medium", d, rounded)
	case took > slowSync:
		return warn("use a quicker disk, or durability: interval; until then a webhook waits as long", "%s: measured, a sync takes %s", d, rounded)
	}
	return good("%s: measured, a sync takes %s", d, rounded)
}

// clusterDurability is asserted, unless the servers may be asked.
func (p *patient) clusterDurability(ctx context.Context) []Finding {
	d := p.c.Broker.Durability
	if p.o.SystemCreds == "" && p.o.SystemNKey == "" {
		return good("%s: asserted by broker.durability, not measured; --system-creds lets the cluster be asked", d)
	}
	c := *p.c
	c.Broker.CredsFile, c.Broker.NKeyFile = p.o.SystemCreds, p.o.SystemNKey
	syncs, err := broker.ServerSyncs(ctx, unbuilt(&c, Options{}, nil).brokerOptions(clickfunnels.NewCatalog()))
	if err != nil {
		return failed("name a file with the credentials of a user of the system account", "%v", err)
	}
	var lazy []string
	for _, s := range syncs {
		if !s.Always {
			lazy = append(lazy, fmt.Sprintf("%s every %s", s.Name, s.Every))
		}
	}
	switch {
	case len(lazy) == 0:
		return good("%s: %s of the cluster sync before they answer", d, howMany(len(syncs), "server"))
	case d == config.Power:
		return failed("set sync_interval: always under jetstream on every server, or assert less in broker.durability", "power is asserted, but these sync later: %s", strings.Join(lazy, ", "))
	}
	return good("%s: these sync later than they answer: %s", d, strings.Join(lazy, ", "))
}

// checkNATS looks at an external cluster as each role does.
func checkNATS(ctx context.Context, p *patient) []Finding {
	a := unbuilt(p.c, Options{Roles: p.o.Roles}, nil)
	x, err := broker.Examine(ctx, a.brokerOptions(clickfunnels.NewCatalog()))
	if err != nil {
		return failed("correct broker.url and its credentials, or start the cluster", "%v", err)
	}
	var out []Finding
	if x.Unfit != nil {
		out = append(out, failed("update or set up the servers as docs/cluster.md says", "%v", x.Unfit)...)
	} else {
		out = append(out, good("server %s; %s is needed", x.Version, broker.MinServer)...)
	}
	for _, r := range x.Rights {
		if r.Err != nil {
			out = append(out, failed("`penstock provision --print-permissions "+r.Role+"` prints all that it needs", "%s", strings.Join(strings.Fields(firstLines(r.Err.Error())), " "))...)
		} else {
			out = append(out, good("the user of role %s has every right it needs", r.Role)...)
		}
	}
	out = append(out, streamFindings(x)...)
	if x.Looked {
		out = append(out, judgeSkew("the NATS server", x.Skew)...)
	}
	return out
}

func firstLines(s string) string {
	head, _, _ := strings.Cut(s, "\n`penstock provision")
	return head
}

func streamFindings(x broker.Examination) []Finding {
	if !x.Looked {
		return skipped("the role ingress may not look at the streams")
	}
	var missing, differ []string
	for _, s := range x.Streams {
		if s.Missing {
			missing = append(missing, s.Name)
		} else {
			differ = append(differ, s.Name+" in "+strings.Join(s.Differs, ", "))
		}
	}
	const do = "run `penstock provision` with the provisioner's credentials"
	var out []Finding
	if len(missing) > 0 {
		out = append(out, failed(do, "missing: %s", strings.Join(missing, ", "))...)
	}
	if len(differ) > 0 {
		out = append(out, failed(do, "not as the configuration says: %s", strings.Join(differ, "; "))...)
	}
	if len(out) == 0 {
		out = good("every stream is there, as the configuration says")
	}
	return slices.Clip(out)
}
