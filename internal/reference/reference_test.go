package reference

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/config"
)

func TestOptionsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c, err := ReadComments("../../config")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Option{}
	for _, o := range c.Options(config.Sink{
		Timeout: 10 * time.Second, Retry: config.Retry{MaxAge: 72 * time.Hour, PermanentStatuses: []int{400, 410}},
	}) {
		got[o.Key] = o
		if o.Doc == "" || o.Type == "" || o.Example == "" {
			t.Errorf("%s lacks something: %+v", o.Key, o)
		}
	}
	for _, o := range c.Options(config.Broker{}) {
		got[o.Key] = o
	}
	for _, want := range []Option{
		{Key: "timeout", Type: "duration, 1ms to 1h", Default: "10s", Example: "10s", Doc: "`timeout` bounds one attempt. However long, the queue waits for it: an open attempt is reported to it every few seconds."},
		{Key: "rate", Type: "rate", Default: "unlimited", Example: "unlimited", Doc: "`rate` bounds the attempts over time, per replica; zero: unlimited."},
		{Key: "start", Type: "`now`, `beginning`, an age, or a time", Default: "now", Example: "now", Doc: "`start` says where a new sink begins."},
		{Key: "users[].name", Type: "text", Required: true, Example: "reports", Doc: "`name` is what the user logs in with."},
		{Key: "durability", Type: "`process`, `interval`, `power`", Example: "process", Doc: "`durability` is what a 2xx promises: to survive a kill of the process, a power cut but for the last 250 ms (interval), or a power cut. With `url` set it is what the operator asserts of the cluster."},
		{Key: "max_bytes", Type: "size, at least 1MiB", Default: "auto", Example: "auto", Doc: "`max_bytes` bounds the stream of events; 0 means auto: the smaller of 10 GiB and half of what is free."},
	} {
		if d := cmp.Diff(want, got[want.Key]); d != "" {
			t.Errorf("%s (-want +got):\n%s", want.Key, d)
		}
	}
	if o := got["retry.permanent_statuses"]; o.Default != "[400, 410]" || o.Type != "list: whole number, 400 to 599" {
		t.Errorf("permanent_statuses: %+v", o)
	}
	if o := got["retry.max_age"]; o.Default != "72h" {
		t.Errorf("max_age: %+v", o)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	err := WriteTable(&b, []Option{{Key: "a", Type: "text", Required: true, Example: "x|y", Doc: "one | two"}, {Key: "b", Type: "size", Example: "1MiB"}})
	want := "| key | type | default | example | |\n|---|---|---|---|---|\n| `a` | text | **required** | `x\\|y` | one \\| two |\n| `b` | size | – | `1MiB` |  |\n"
	if err != nil || b.String() != want {
		t.Errorf("WriteTable wrote %q, %v; want %q", b.String(), err, want)
	}
}
