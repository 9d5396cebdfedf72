package charttest

import (
	"os"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
)

// valueDoc is what values.yaml says of a key.
type valueDoc struct {
	text, fallback string
	order          int
}

// valueDocs reads the comments of values.yaml that begin with "--", by path.
func valueDocs(t *testing.T) map[string]valueDoc {
	t.Helper()
	data, err := os.ReadFile(chartDir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yamlv3.Node
	if err := yamlv3.Unmarshal(data, &root); err != nil {
		t.Fatal(err)
	}
	out := map[string]valueDoc{}
	collectDocs(t, root.Content[0], "", out)
	return out
}

func collectDocs(t *testing.T, n *yamlv3.Node, path string, out map[string]valueDoc) {
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := strings.TrimPrefix(path+"."+key.Value, ".")
		text, documented := docOf(key.HeadComment)
		if documented {
			out[at] = valueDoc{text: text, fallback: asDefault(t, value), order: len(out)}
			continue
		}
		if value.Kind != yamlv3.MappingNode || len(value.Content) == 0 {
			t.Errorf("values.yaml:%d: %s has no comment that begins with --", key.Line, at)
			continue
		}
		collectDocs(t, value, at, out)
	}
}

// docOf is the text of a comment of the form "# -- text".
func docOf(comment string) (text string, found bool) {
	at := strings.LastIndex("\n"+comment, "\n# -- ")
	if at < 0 {
		return "", false
	}
	lines := strings.Split(comment[at:], "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "# -- "), "# ")
	}
	return strings.Join(lines, " "), true
}

// asDefault is a value as one line of YAML.
func asDefault(t *testing.T, n *yamlv3.Node) string {
	t.Helper()
	flow := *n
	makeFlow(&flow)
	text, err := yamlv3.Marshal(&flow)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

func makeFlow(n *yamlv3.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	if n.Kind == yamlv3.MappingNode || n.Kind == yamlv3.SequenceNode {
		n.Style = yamlv3.FlowStyle
	}
	for i, c := range n.Content {
		own := *c
		makeFlow(&own)
		n.Content[i] = &own
	}
}
