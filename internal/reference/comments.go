package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Comments are those on types and on the fields of structs.
type Comments struct {
	types map[string]typeComments // by package and type: config.Sink
}

type typeComments struct {
	text   string
	fields map[string]string
}

// ReadComments reads the Go files of folders, but not their tests.
func ReadComments(folders ...string) (*Comments, error) {
	c := &Comments{types: map[string]typeComments{}}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			if err := c.read(file); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

func (c *Comments) read(file string) error {
	source, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read comments: %w", err)
	}
	tree, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("read comments: %w", err)
	}
	for _, d := range tree.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range group.Specs {
			if t, ok := s.(*ast.TypeSpec); ok {
				c.add(tree.Name.Name, group, t)
			}
		}
	}
	return nil
}

func (c *Comments) add(pkg string, group *ast.GenDecl, t *ast.TypeSpec) {
	doc := t.Doc
	if doc == nil {
		doc = group.Doc
	}
	tc := typeComments{text: flow(doc), fields: map[string]string{}}
	if s, ok := t.Type.(*ast.StructType); ok {
		above := ""
		for _, f := range s.Fields.List {
			text := flow(f.Doc)
			if text == "" {
				text = flow(f.Comment)
			}
			for _, name := range f.Names {
				// A comment may be on several fields that follow each other.
				if text == "" && wordOf(name.Name).MatchString(above) {
					text = above
				}
				tc.fields[name.Name] = text
			}
			if text != "" {
				above = text
			}
		}
	}
	c.types[pkg+"."+t.Name.Name] = tc
}

// flow is a comment as one line.
func flow(g *ast.CommentGroup) string { return strings.Join(strings.Fields(g.Text()), " ") }

func wordOf(name string) *regexp.Regexp { return regexp.MustCompile(`\b` + name + `\b`) }

// Type is the comment on a type, named with its package: "sinks.httpSink".
// Empty: there is none.
func (c *Comments) Type(name string) string { return c.types[name].text }

// doc is the comment on a field, in which the names of fields are their keys.
func (c *Comments) doc(t reflect.Type, field string) string {
	text := c.types[typeName(t)].fields[field]
	for f := range t.Fields() {
		if key, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); key != "" {
			text = wordOf(f.Name).ReplaceAllLiteralString(text, "`"+key+"`")
		}
	}
	return text
}

// typeName is how ReadComments knows a type.
func typeName(t reflect.Type) string {
	return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + t.Name()
}

// TypeOf is the comment on the type of a value.
func (c *Comments) TypeOf(v any) string { return c.Type(typeName(reflect.TypeOf(v))) }
