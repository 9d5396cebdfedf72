package config

import (
	"regexp"
	"slices"
)

// Variable is an environment variable that files name.
type Variable struct {
	Name string
	// Default: every place that names it says what to take without it.
	Default bool
	// Pos is the first place that names it.
	Pos Pos
}

var variableUse = regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-)?`)

// Variables returns the environment variables that the files name, in the order
// of their first places. Files that cannot be read have none.
func Variables(files []string) []Variable {
	var out []Variable
	for _, file := range files {
		data, err := readFile(file, maxFileBytes)
		if err != nil {
			continue
		}
		root, _ := parseYAML(file, []byte(data))
		if root == nil {
			continue
		}
		Node{File: file, val: root, docs: &secretFiles{}}.walk(func(n Node) {
			for _, use := range variableUse.FindAllStringSubmatch(n.val.raw, -1) {
				if use[1] == "" { // $$, a dollar sign
					continue
				}
				at := slices.IndexFunc(out, func(v Variable) bool { return v.Name == use[1] })
				if at < 0 {
					out = append(out, Variable{Name: use[1], Default: use[2] != "", Pos: n.Pos()})
					continue
				}
				out[at].Default = out[at].Default && use[2] != ""
			}
		})
	}
	return out
}
