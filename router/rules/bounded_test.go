package rules

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/event"
)

// mostAllocated is what an evaluation may allocate in all, what was freed
// meanwhile included: maxWork units of 16 bytes, and what CEL itself makes for
// each unit that is not about memory.
const mostAllocated = 96 << 20

// hostileBody is an event that is large in each way that expressions look at.
func hostileBody() []byte {
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	var fields strings.Builder
	for i := range 3_000 {
		fmt.Fprintf(&fields, `"key%d":%d,`, i, i)
	}
	long := strings.Repeat("a", 450_000)
	return fmt.Appendf(nil, `{"data":{"s":%q,"s2":%q,"half":%q,"l":%s,"texts":%s,"items":%s,"lists":%s,"m":{%s"z":1},"r":"(((a{1,50}){1,50}){1,50}){1,50}",
		"classes":%q,"deep":%s1%s,"zone":"Europe/Berlin","b":%q}}`,
		long, long, strings.Repeat("a", 225_000)+"b", list(12_000, "1"), list(3_000, `"abcdefgh"`), list(2_000, `{"sku":"A","n":1,"tags":["x","y"]}`),
		list(1_000, "[[[[1]]]]"), fields.String(), strings.Repeat(`\pL`, 300),
		strings.Repeat("[", 150), strings.Repeat("]", 150), strings.Repeat("YWFh", 100_000))
}

// doubled binds n variables, each made of the one before twice.
func doubled(n int, first, twice, last string) string {
	text := fmt.Sprintf(last, fmt.Sprintf("v%d", n-1))
	for i := n - 1; i > 0; i-- {
		before := fmt.Sprintf("v%d", i-1)
		text = fmt.Sprintf("cel.bind(v%d, %s, %s)", i, strings.ReplaceAll(twice, "X", before), text)
	}
	return fmt.Sprintf("cel.bind(v0, %s, %s)", first, text)
}

// hostile are conditions that do too much with that event.
func hostile() []string {
	return []string{
		`data.l.map(x, data.s + data.s).size() > 0`,
		`data.items.map(i, data.s + i.sku).size() > 0`,
		`data.l.all(x, data.m == data.m)`,
		`data.l.all(x, data.items == data.items)`,
		`data.l.all(x, data.s == data.s2)`,
		`data.l.all(x, data.s <= data.s2)`,
		`data.l.all(x, !(x + 5 in data.l))`,
		`data.l.all(x, !(data.s in data.m))`,
		`data.l.all(x, data.s in [data.s2, "b"])`,
		`data.l.all(x, !(data.s in ["a", "b"]))`,
		`data.l.all(x, !has(data.m.x) && data.?m[?data.s].orValue(1) == 1)`,
		`data.l.exists(x, data.m[data.s] == 1)`,
		`data.l.exists(x, data.m[dyn(data.s)] == 1)`,
		`data.l.exists(x, data.m[data.s.trim()] == 1)`,
		`data.l.exists(x, int(data.s) == 1)`,
		`data.l.exists(x, double(data.s) == 1.0)`,
		`data.l.exists(x, timestamp(data.s) == now)`,
		`data.l.exists(x, money(data.s) == 1.0)`,
		`data.l.exists(x, date(now, data.s) == "")`,
		`data.l.all(x, date(now, data.zone) != "")`,
		`data.l.all(x, now.getHours(data.zone) >= 0)`,
		`data.l.exists(x, data.l.exists(y, x.foo == y))`,
		`data.l.all(x, size(data.s) > 0)`,
		`data.l.all(x, bytes(data.s).size() > 0)`,
		`data.l.all(x, string(bytes(data.s)) != "")`,
		`data.l.all(x, data.s.contains(data.half) || true)`,
		`data.l.all(x, data.s.startsWith(data.s2))`,
		`data.l.all(x, data.s.lowerAscii() != "")`,
		`data.l.all(x, data.s.upperAscii().size() > 0)`,
		`data.l.all(x, data.s.substring(1).size() > 0)`,
		`data.l.all(x, data.s.charAt(1) == "a")`,
		`data.l.all(x, data.s.reverse() != "")`,
		`data.l.all(x, data.s.trim() != "")`,
		`data.l.all(x, data.s.split("").size() > 0)`,
		`data.l.all(x, data.s.split("b").size() > 0)`,
		`data.s.indexOf(data.half) < 0`,
		`data.s.lastIndexOf("b" + data.half) < 0`,
		`data.s.replace("", data.s).size() > 0`,
		`data.s.replace("a", data.s).size() > 0`,
		`data.l.all(x, data.s.replace("a", "b") != "")`,
		`data.l.map(a, data.s).join(data.s).size() > 0`,
		`data.texts.map(a, data.s).join().size() > 0`,
		`data.s.split("").map(c, data.s.split("").map(d, d + c)).size() > 0`,
		`"%s".format([data.l.map(a, data.s)]) == ""`,
		`data.l.all(x, "%s".format([body]) != "")`,
		`data.s.format([1]) == "" || data.l.all(x, data.s.format([x]) != "")`,
		`data.l.all(x, strings.quote(data.s) != "")`,
		`data.l.all(x, base64.encode(bytes(data.s)) != "")`,
		`data.l.all(x, base64.decode(data.b).size() > 0)`,
		`data.l.all(x, !data.s.matches("^(a|b|ab)*c"))`,
		`data.l.exists(x, data.s.matches("(a*)*b" + data.half))`,
		`data.l.exists(x, data.s.matches(data.r))`,
		`data.l.exists(x, "a".matches(data.classes))`,
		`data.l.exists(x, data.s.matches(data.s2))`,
		`data.l.all(x, regex.replace(data.s, "a", "b") != "")`,
		`regex.replace(data.s, "a", data.s).size() > 0`,
		`regex.replace(data.s, "", data.s).size() > 0`,
		`regex.replace(data.s, "(a*)", "\\1\\1\\1\\1" + data.s).size() > 0`,
		`data.l.all(x, regex.extractAll(data.s, "a").size() > 0)`,
		`data.l.all(x, regex.extract(data.s, "(a+)").hasValue())`,
		`lists.range(10000).all(a, lists.range(10000).all(b, a + b >= 0))`,
		`lists.range(10000).exists(a, lists.range(10000).exists(b, lists.range(10000).exists(c, a + b + c < 0)))`,
		`data.l.map(a, data.l.map(b, data.l.map(c, a + b + c))).size() > 0`,
		`data.l.map(a, data.l).size() > 0`,
		`data.l.map(a, [data.l, data.l]).flatten().size() > 0`,
		`data.l.map(a, lists.range(10000)).flatten().size() > 0`,
		`data.l.all(x, data.lists.flatten(4).size() > 0)`,
		`data.l.all(x, data.texts.sort().size() > 0)`,
		`data.l.map(x, data.s).sort().size() > 0`,
		`data.l.all(x, data.items.sortBy(i, i.sku).size() > 0)`,
		`data.l.all(x, data.texts.reverse().size() > 0)`,
		`data.l.all(x, data.texts.slice(0, 2999).size() > 0)`,
		`data.texts.map(t, t + string(data.l[0])).map(t, {t: 1}).distinct().size() > 0`,
		`data.m.map(k, k).distinct().size() > 0`,
		`data.l.all(x, sets.contains(data.m.map(k, k), data.texts))`,
		`data.l.all(x, sets.intersects(data.texts, data.l))`,
		`data.l.all(x, data.l.hasAll(data.l))`,
		`data.l.all(x, data.m.all(k, k != ""))`,
		`data.l.all(x, data.m.transformMap(k, v, v).size() > 0)`,
		`data.l.transformMapEntry(i, v, {i: data.m}).size() > 0`,
		`data.l.all(x, data.m.transformMapEntry(k, v, {v: k}).size() > 0)`,
		`data.l.map(x, {data.s: x}).size() > 0`,
		`data.l.map(x, {"a": body}).size() > 0`,
		`data.l.map(x, [data.deep]).size() > 0`,
		`data.l.all(x, math.greatest(data.l) > 0)`,
		`data.l.all(x, data.l.map(y, optional.of(y)).size() > 0)`,
		`data.l.all(x, optional.unwrap(data.l.map(y, optional.of(y))).size() > 0)`,
		doubled(24, `data.s`, `X + X`, `%s.size() > 0`),
		doubled(24, `data.l`, `X + X`, `%s.size() > 0`),
		doubled(24, `data.l`, `X + X`, `1 in %s`) + ` && ` + doubled(24, `data.l`, `X + X`, `2 in %s`),
		doubled(40, `[data.l]`, `[X, X]`, `%s.size() == 1`),
		doubled(40, `{"a": data.l}`, `{"a": X, "b": X}`, `%s.size() == 1`),
		doubled(40, `[1]`, `[X, X]`, `"%%s".format([%s]) == ""`),
		doubled(20, `bytes(data.s)`, `X + X`, `%s.size() > 0`),
		doubled(12, `data.s`, `X.replace("a", "aa")`, `%s.size() > 0`),
	}
}

// TestHostileConditionsAreBounded: whatever a rule does with whatever an event
// holds ends soon, and makes little.
func TestHostileConditionsAreBounded(t *testing.T) { // alone, to count what is allocated
	in := NewInput(&event.Event{Body: hostileBody()}, now)
	if ok, err := mustCondition(t, `data.l.size() == 12000 && data.s.size() == 450000`).Eval(t.Context(), in); !ok || err != nil {
		t.Fatalf("the event is not what it should be: %v, %v", ok, err)
	}
	for _, expression := range hostile() {
		t.Run(expression[:min(len(expression), 80)], func(t *testing.T) {
			c, ms := mustLanguage(t).Condition(node(t, quoted(expression)))
			if len(ms) > 0 && strings.Contains(ms.Error(), "is too much work for any event") {
				return // as good
			}
			if len(ms) > 0 {
				t.Fatal(ms)
			}
			allocated, took, err := measured(func() error {
				_, err := c.Eval(t.Context(), in)
				return err
			})
			t.Logf("%v, %d MiB", took, allocated>>20)
			wantTooMuch(t, err, allocated)
		})
	}
}

// TestExplainTooMuchWork: also of such a condition the values are told.
func TestExplainTooMuchWork(t *testing.T) {
	t.Parallel()
	in := NewInput(&event.Event{Body: hostileBody()}, now)
	clauses := mustCondition(t, `data.zone == "x" || data.l.map(x, data.s + data.s).size() > 0`).Explain(t.Context(), in)
	if len(clauses) != 2 || clauses[1].Err == nil || len(clauses[1].Seen) == 0 {
		t.Fatalf("got %+v", clauses)
	}
	if seen := clauses[1].Seen[0]; seen.Path != "data.l" || !strings.HasPrefix(seen.Value, "[1,1") {
		t.Errorf("saw %+v", seen)
	}
}

// measured runs f and counts what it allocates, in bytes.
func measured(f func() error) (uint64, time.Duration, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took, err
}

func wantTooMuch(t *testing.T, err error, allocated uint64) {
	t.Helper()
	var told *Error
	if !errors.As(err, &told) || !strings.Contains(err.Error(), tooMuchWork) {
		t.Errorf("got %v, want that it is too much work", err)
	}
	if allocated > mostAllocated {
		t.Errorf("allocated %d MiB, want at most %d", allocated>>20, mostAllocated>>20)
	}
}

// TestHostileTransformsAreBounded: all expressions of a transform are one
// evaluation, and so is what is written.
func TestHostileTransformsAreBounded(t *testing.T) {
	in := NewInput(&event.Event{Body: hostileBody()}, now)
	for _, yaml := range []string{
		`x: "data.items.map(i, data.s + i.sku)"`,
		`x: "data.l.map(i, data.s)"`,
		`x: "data.l.map(i, body)"`,
		`x: "data.l.map(i, {'a': data.items})"`,
		`x: "data.l.transformMap(i, v, data.items)"`,
		"x: ['" + doubled(40, `[1]`, `[X, X]`, `%s`) + "']",
		"x: ['" + doubled(40, `{1: 1}`, `{1: X, 2: X}`, `%s`) + "']",
		"x: ['" + doubled(24, `data.items`, `X + X`, `%s`) + "']",
		"x: {" + strings.Repeat("k: body, ", 1) + "l: [" + strings.TrimSuffix(strings.Repeat("body, ", 40), ", ") + "]}",
		"x: [" + strings.TrimSuffix(strings.Repeat("data.s + data.s2, ", 40), ", ") + "]",
	} {
		t.Run(yaml[:min(len(yaml), 60)], func(t *testing.T) {
			tr, ms := mustLanguage(t).Transform(node(t, yaml))
			if len(ms) > 0 && strings.Contains(ms.Error(), "is too much work for any event") {
				return // as good
			}
			if len(ms) > 0 {
				t.Fatal(ms)
			}
			allocated, took, err := measured(func() error {
				_, err := tr.Apply(t.Context(), in)
				return err
			})
			t.Logf("%v, %d MiB", took, allocated>>20)
			if err != nil && strings.Contains(err.Error(), errLarge.Error()) {
				err = &Error{text: tooMuchWork} // as good
			}
			wantTooMuch(t, err, allocated)
		})
	}
}

// TestDecodingIsBounded: a body makes a few times its size, whatever it holds.
func TestDecodingIsBounded(t *testing.T) {
	for _, item := range []string{"1,", "{},", "[],", `{"a":1},`, `"a",`, "[[]],"} {
		t.Run(item, func(t *testing.T) {
			body := []byte("[" + strings.Repeat(item, (8<<20)/len(item)) + "1]")
			allocated, took, err := measured(func() error {
				_, err := decodeJSON(body)
				return err
			})
			t.Logf("%v, %d MiB, %v", took, allocated>>20, err)
			if allocated > mostAllocated {
				t.Errorf("allocated %d MiB, want at most %d", allocated>>20, mostAllocated>>20)
			}
		})
	}
}
