package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The roles of a process, as in serve --roles.
const (
	RoleIngress = "ingress"
	RoleRouter  = "router"
	RoleConsole = "console"
)

// KindCheck checks the options of one kind of sink, without side effects.
// Node.Decode into the kind's options is usually all of it.
type KindCheck func(options Node) Mistakes

// Options are what loading needs from outside. The zero Options check the file
// by itself, with the process's environment, for all roles.
type Options struct {
	// Env looks variables up; nil means os.LookupEnv.
	Env func(name string) (value string, ok bool)
	// Roles are those that will run; none means all. Variables and secret
	// files that only other roles need may be missing.
	Roles []string
	// NoEnv lets every variable (an empty one too) and secret file be missing:
	// placeholders stand in, and what follows from those is not a mistake. *_file is not read.
	NoEnv bool
	// SinkKinds has the kinds of sinks by name, with the check of their own
	// keys. Nil accepts every kind; a nil check accepts every key.
	SinkKinds map[string]KindCheck
	// SinkDefaults has, for the kinds of sinks that differ there, what they
	// change in the defaults of the keys that all kinds have.
	SinkDefaults map[string]func(*Sink)
	// SourceKinds are the kinds of sources; nil accepts every kind.
	SourceKinds []string
	// Canonical looks up a literal of match: an event type as it is sent
	// (orders/invoice.paid) or a subject, in any spelling of the catalogue. It
	// returns the subject events are stored under and whether the catalogue
	// knows it; if not, the nearest known subject, or "". Nil accepts all.
	Canonical func(entry string) (subject string, known bool, suggestion string)
	// Expressions checks what a route says besides its names: when and
	// transform. Nil accepts all.
	Expressions func(r *Route) Mistakes
	// Facts says of an expression what is known without an event; nil knows
	// nothing, which is right of every expression.
	Facts func(n Node) Facts
	// Type looks up an event type as it is sent; nil gives no advice about types
	// in conditions.
	Type func(eventType string) TypeFacts
	// Survey looks a pattern over subjects up, without a source's prefix. Nil
	// gives no advice about patterns.
	Survey func(pattern string) Survey
	// Advice adds warnings about what works but is likely not meant: secrets in
	// clear, routes that add nothing, times that contradict each other.
	Advice bool
}

// Load reads the files, and the *.yaml and *.yml files of folders in the order
// of their names, as one configuration. It returns every mistake at once, by
// place, warnings among them; the configuration may be used when none is
// fatal. It is nil only when a file cannot be read or is not YAML.
//
// In several files, sources, sinks and routes add up; the same source or sink
// twice, and server, broker or default in two files, are mistakes. A file
// whose name begins with a dot, or ends with _test.yaml, is not part of its
// folder.
func Load(paths []string, o Options) (*Config, Mistakes) {
	l := newLoader(o)
	var files []string
	for _, path := range paths {
		files = append(files, l.filesAt(path)...)
	}
	if len(paths) == 0 {
		l.broken = true
		l.report(Mistake{What: "no configuration file is named"})
	}
	for _, file := range files {
		if slices.Contains(l.cfg.Files, file) {
			continue
		}
		l.cfg.Files = append(l.cfg.Files, file)
		data, err := readFile(file, maxFileBytes)
		if err != nil {
			l.unreadable(file, err)
			continue
		}
		l.add(file, []byte(data))
	}
	return l.finish()
}

// Parse is Load of one file's content. The file's name is used in messages,
// and its folder for relative names of files; it is not opened.
func Parse(file string, data []byte, o Options) (*Config, Mistakes) {
	l := newLoader(o)
	if file != "" {
		l.cfg.Files = []string{file}
	}
	l.add(file, data)
	return l.finish()
}

// loader builds one Config.
type loader struct {
	o     Options
	cfg   *Config
	files *secretFiles
	roots []Node              // a mapping per file
	text  map[string][]string // the lines of each file
	// ms are the mistakes of the files and their variables; checks those of
	// what they say, which do not count where a placeholder stands.
	ms, checks Mistakes
	broken     bool // a file could not be read or parsed
	misread    bool // a whole section could not be used, so what is missing may stand there
	noRoutes   bool // routes could not be read, so that nothing is said of what they lack

	server, broker, fallback Node
	sources, sinks           []named
	routes, tests            []Node
}

// named is an entry of sources or sinks.
type named struct {
	Node
	name string
	key  Pos
}

func newLoader(o Options) *loader {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.NoEnv { // a CI sets secrets that it does not hand out to nothing
		env := o.Env
		o.Env = func(name string) (string, bool) { v, ok := env(name); return v, ok && v != "" }
	}
	return &loader{
		o:      o,
		cfg:    &Config{},
		files:  &secretFiles{},
		text:   map[string][]string{},
		server: Node{Path: "server"}, // still zero, but named in messages
		broker: Node{Path: "broker"},
	}
}

func (l *loader) report(ms ...Mistake) { l.ms = append(l.ms, ms...) }
func (l *loader) check(ms ...Mistake)  { l.checks = append(l.checks, ms...) }

func (l *loader) unreadable(file string, err error) {
	l.broken = true
	l.report(Mistake{Pos: Pos{File: file}, What: fmt.Sprintf("cannot be read: %v", err)})
}

// filesAt returns path, or the configuration files of the folder at path.
func (l *loader) filesAt(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		l.unreadable(path, withoutPath(err))
		return nil
	}
	if !info.IsDir() {
		return []string{path}
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		l.unreadable(path, withoutPath(err))
		return nil
	}
	var files []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), testSuffix) && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		l.broken = true
		l.report(Mistake{Pos: Pos{File: path}, What: "the folder has no *.yaml file"})
	}
	return files
}

// add parses a file and takes its sections.
func (l *loader) add(file string, data []byte) {
	root, ms := parseYAML(file, data)
	l.report(ms...)
	if root == nil {
		l.broken = true
		return
	}
	n := Node{File: file, val: root, docs: l.files}
	if root.kind != mapping {
		l.misread = true
		if !root.unresolved {
			l.report(n.needsParts("a mapping", "its keys are "+strings.Join(sections, ", "))...)
		}
		return
	}
	l.roots = append(l.roots, n)
	l.text[file] = strings.Split(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	for _, key := range root.keys {
		l.section(n, key)
	}
}

var sections = []string{"server", "broker", "sources", "sinks", "routes", "default", "tests"}

func (l *loader) section(root Node, key string) {
	n := root.Get(key)
	once := map[string]*Node{"server": &l.server, "broker": &l.broker, "default": &l.fallback}[key]
	switch {
	case strings.HasPrefix(key, "x-"): // a place to keep anchors
	case !slices.Contains(sections, key):
		d := decoder{}
		d.unknown(Node{File: n.File, docs: n.docs, val: &value{kind: mapping, keys: []string{key}, vals: []*value{n.val}}}, sections)
		l.report(d.ms...)
	case n.val.null: // everything in it is commented out
	case n.val.unresolved: // reported
		l.misread = true
	case once != nil && !once.IsZero():
		l.report(root.keyErrorf(key, "is also set in "+once.keyPos().String(), "keep it in one file"))
	case once != nil:
		*once = n
	case key == "routes" && n.val.kind == sequence:
		l.routes = append(l.routes, n.list()...)
	case key == "tests" && n.val.kind == sequence:
		l.tests = append(l.tests, n.list()...)
	case key == "tests":
		l.report(n.needsParts("a list", "begin every test with a dash: - name: ...")...)
	case key == "routes":
		l.noRoutes = true
		l.report(n.needsParts("a list", "begin every route with a dash: - match: ...")...)
	case n.val.kind != mapping:
		l.misread = true
		l.report(n.needsParts("a mapping", "write a name, and below it its keys")...)
	case key == "sources":
		l.sources = l.entries(n, l.sources)
	default:
		l.sinks = l.entries(n, l.sinks)
	}
}

// entries adds the named entries of a section to those of earlier files.
func (l *loader) entries(n Node, have []named) []named {
	for _, name := range n.val.keys {
		e := named{n.Get(name), name, n.Get(name).keyPos()}
		if at := slices.IndexFunc(have, func(h named) bool { return h.name == name }); at >= 0 {
			l.report(n.keyErrorf(name, "is also defined at "+have[at].key.String(), "rename or remove one"))
			continue
		}
		have = append(have, e)
	}
	return have
}

// finish decodes and checks the sections.
func (l *loader) finish() (*Config, Mistakes) {
	if l.broken {
		l.ms.Sort()
		return nil, l.ms
	}
	l.cfg.Server = l.decodeServer(l.server)
	l.cfg.Broker = l.decodeBroker(l.broker)
	for _, e := range l.sources {
		l.cfg.Sources = append(l.cfg.Sources, l.decodeSource(e))
	}
	for _, e := range l.sinks {
		l.cfg.Sinks = append(l.cfg.Sinks, l.decodeSink(e))
	}
	for i, n := range l.routes {
		l.cfg.Routes = append(l.cfg.Routes, l.decodeRoute(i, n))
	}
	l.decodeDefault()
	l.decodeTests()
	l.checkServer()
	l.checkBroker()
	l.checkSources()
	l.checkRoutes()
	l.checkUse()
	l.advise()
	l.cfg.places = map[string]Node{"server": l.server, "broker": l.broker}
	l.cfg.WatchFiles = slices.Concat(l.cfg.Files, l.files.paths())
	ms := slices.Concat(l.ms, l.founded())
	ms.Sort()
	l.excerpts(ms)
	return l.cfg, ms
}

// founded returns the checks' mistakes but for those about a placeholder.
func (l *loader) founded() Mistakes {
	silent := map[Pos]bool{}
	var walk func(file string, v *value)
	walk = func(file string, v *value) {
		if v.unresolved {
			silent[Pos{file, v.line, v.col}] = true
		}
		for _, part := range v.vals {
			walk(file, part)
		}
	}
	for _, root := range l.roots {
		walk(root.File, root.val)
	}
	return slices.DeleteFunc(l.checks, func(m Mistake) bool { return silent[m.Pos] })
}
