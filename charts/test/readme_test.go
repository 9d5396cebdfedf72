package charttest

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const valuesMark = "<!-- values -->\n"

// TestReadmeIsGenerated: the table of values is what values.yaml says.
func TestReadmeIsGenerated(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(chartDir + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), valuesMark)
	if len(parts) != 3 {
		t.Fatalf("README.md has %d marks %q, want 2", len(parts)-1, strings.TrimSpace(valuesMark))
	}
	generated(t, chartDir+"/README.md", []byte(parts[0]+valuesMark+valuesTable(t)+valuesMark+parts[2]))
}

func valuesTable(t *testing.T) string {
	t.Helper()
	docs := valueDocs(t)
	root := valuesSchema(t)
	var out strings.Builder
	out.WriteString("| key | type | default | what it is |\n|---|---|---|---|\n")
	for _, path := range slices.SortedFunc(maps.Keys(docs), func(a, b string) int { return cmp.Compare(docs[a].order, docs[b].order) }) {
		cell := func(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
		fmt.Fprintf(&out, "| `%s` | %s | `%s` | %s |\n", path, typeOf(root, root, strings.Split(path, ".")), cell(docs[path].fallback), cell(docs[path].text))
	}
	return out.String()
}

// typeOf is the type of a key, in a word.
func typeOf(root, n schemaNode, path []string) string {
	for _, key := range path {
		n = resolve(root, n)["properties"].(schemaNode)[key].(schemaNode)
	}
	if ref, _ := n["$ref"].(string); ref != "" {
		if _, name, isKube := cutLast(strings.TrimPrefix(ref, "#/$defs/")); isKube {
			return name
		}
	}
	n = resolve(root, n)
	if enum, has := n["enum"].([]any); has {
		var words []string
		for _, w := range enum {
			words = append(words, fmt.Sprintf("`%v`", cmp.Or(fmt.Sprint(w), `""`)))
		}
		return strings.Join(words, ", ")
	}
	switch typ := n["type"].(type) {
	case string:
		if typ != "array" {
			return typ
		}
		item, _ := n["items"].(schemaNode)
		if ref, _ := item["$ref"].(string); ref != "" {
			_, name, _ := cutLast(ref)
			return "list of " + name
		}
		return "list"
	case []any:
		return fmt.Sprint(typ[0])
	}
	return "integer or text"
}

func resolve(root, n schemaNode) schemaNode {
	if ref, _ := n["$ref"].(string); ref != "" {
		return root["$defs"].(schemaNode)[strings.TrimPrefix(ref, "#/$defs/")].(schemaNode)
	}
	return n
}

// TestEveryKeyIsDescribed: the schema and values.yaml have the same keys, so
// that none is accepted that nobody can find.
func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	docs := valueDocs(t)
	for _, l := range leaves(t, valuesSchema(t)) {
		covered := false
		for i := range l.path {
			if _, has := docs[strings.Join(l.path[:i+1], ".")]; has {
				covered = true
			}
		}
		if !covered {
			t.Errorf("%s is not in values.yaml", l)
		}
	}
	root := valuesSchema(t)
	for path := range docs {
		n := root
		for key := range strings.SplitSeq(path, ".") {
			properties, _ := resolve(root, n)["properties"].(schemaNode)
			if n, _ = properties[key].(schemaNode); n == nil {
				t.Errorf("values.yaml describes %s, which the schema does not have", path)
				break
			}
		}
	}
}
