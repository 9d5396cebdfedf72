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

const module = "github.com/penstock/penstock/"

// comments reads the comments of types and struct fields from the source, each
// package once.
type comments struct {
	root     string
	packages map[string]map[string]string // by folder, then by Type or Type.Field
}

// of returns the comment of a field, on one line.
func (c *comments) of(t reflect.Type, field string) (string, error) {
	return c.ofType(t.PkgPath(), t.Name()+"."+field)
}

// ofType returns the comment of a type of a package, or of a field, Type.Field.
func (c *comments) ofType(pkg, name string) (string, error) {
	folder := strings.TrimPrefix(pkg, module)
	if _, ok := c.packages[folder]; !ok {
		read, err := readComments(filepath.Join(c.root, folder))
		if err != nil {
			return "", err
		}
		if c.packages == nil {
			c.packages = map[string]map[string]string{}
		}
		c.packages[folder] = read
	}
	doc := c.packages[folder][name]
	if doc == "" {
		return "", fmt.Errorf("%s: %s has no comment: the reference is made of them", folder, name)
	}
	return doc, nil
}

func readComments(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	out := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if group, ok := n.(*ast.GenDecl); ok {
				typeComments(out, group)
			}
			return true
		})
	}
	return out, nil
}

func typeComments(out map[string]string, group *ast.GenDecl) {
	for _, spec := range group.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		doc := t.Doc.Text()
		if doc == "" {
			doc = group.Doc.Text()
		}
		out[t.Name.Name] = flow(doc)
		if s, ok := t.Type.(*ast.StructType); ok {
			fieldComments(out, t.Name.Name, s)
		}
	}
}

// flow is a comment as one line.
func flow(doc string) string { return strings.Join(strings.Fields(doc), " ") }

func fieldComments(out map[string]string, typeName string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		doc := f.Doc.Text()
		if doc == "" {
			doc = f.Comment.Text()
		}
		for _, name := range f.Names {
			out[typeName+"."+name.Name] = flow(doc)
		}
	}
}

var goName = regexp.MustCompile(`\b[A-Z][A-Za-z0-9]*\b`)

// inWordsOfTheFile writes a comment with the names of keys in place of those of
// fields, and as a sentence.
func inWordsOfTheFile(doc string, names map[string]string) string {
	doc = goName.ReplaceAllStringFunc(doc, func(word string) string {
		if key, ok := names[word]; ok {
			return "`" + key + "`"
		}
		return word
	})
	if doc != "" && !strings.HasSuffix(doc, ".") {
		doc += "."
	}
	if doc != "" && !strings.HasPrefix(doc, "`") {
		doc = strings.ToUpper(doc[:1]) + doc[1:]
	}
	return doc
}
