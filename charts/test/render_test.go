// Package charttest proves the chart without a cluster: it renders it as Helm
// does, decodes every object into the type that the API server would, and looks
// at what matters. It is a module of its own, so that the product's stays small.
package charttest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"
)

const (
	chartDir  = "../penstock"
	release   = "demo"
	namespace = "events"
)

// readChart reads the files of the chart once.
var readChart = sync.OnceValues(func() ([]*archive.BufferedFile, error) {
	c, err := loader.Load(chartDir)
	if err != nil {
		return nil, err
	}
	var out []*archive.BufferedFile
	for _, f := range c.Raw {
		out = append(out, &archive.BufferedFile{Name: f.Name, Data: f.Data})
	}
	return out, nil
})

// theChart returns a chart of the caller's own: filling in defaults writes to it.
func theChart(t *testing.T) *chart.Chart {
	t.Helper()
	files, err := readChart()
	if err != nil {
		t.Fatal(err)
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// vals reads values as a user writes them.
func vals(t *testing.T, text string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(text), &out); err != nil {
		t.Fatalf("values %s: %v", text, err)
	}
	return out
}

// valuesFile reads one of the worked examples.
func valuesFile(t *testing.T, name string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(chartDir, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return vals(t, string(data))
}

// rendering is how a chart is rendered. The zero rendering is a first
// installation into an empty cluster.
type rendering struct {
	upgrade    bool
	cluster    []runtime.Object // what lookup finds
	chart      *chart.Chart     // nil: ours
	skipSchema bool
}

// render renders v to objects, or fails as `helm install` would.
func (r rendering) render(t *testing.T, v map[string]any) (manifest, error) {
	t.Helper()
	files, err := r.files(t, v)
	if err != nil {
		return manifest{}, err
	}
	return parse(files)
}

// files are what the templates make of v, by name.
func (r rendering) files(t *testing.T, v map[string]any) (map[string]string, error) {
	t.Helper()
	c := r.chart
	if c == nil {
		c = theChart(t)
	}
	options := common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: !r.upgrade, IsUpgrade: r.upgrade}
	all, err := util.ToRenderValuesWithSchemaValidation(c, v, options, common.DefaultCapabilities, r.skipSchema)
	if err != nil {
		return nil, err
	}
	return engine.RenderWithClientProvider(c, all, cluster(r.cluster))
}

// render renders v as a first installation, which has to work.
func render(t *testing.T, v map[string]any) manifest {
	t.Helper()
	m, err := rendering{}.render(t, v)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// cluster is what lookup asks.
type cluster []runtime.Object

// GetClientFor implements engine.ClientProvider.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	resource, known := map[string]schema.GroupVersionResource{
		"v1/Secret":           corev1.SchemeGroupVersion.WithResource("secrets"),
		"apps/v1/StatefulSet": appsv1.SchemeGroupVersion.WithResource("statefulsets"),
		"apps/v1/Deployment":  appsv1.SchemeGroupVersion.WithResource("deployments"),
	}[apiVersion+"/"+kind]
	if !known {
		return nil, false, fmt.Errorf("the chart looks up %s, which it does not install, so that an installer may have no right to read it", gvk)
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		return nil, false, err
	}
	var copies []runtime.Object // the client writes to what it is given, and renderings run side by side
	for _, o := range c {
		copies = append(copies, o.DeepCopyObject())
	}
	return fake.NewSimpleDynamicClient(scheme, copies...).Resource(resource), true, nil
}

// manifest is what a rendering has made.
type manifest struct {
	objects []object
	notes   string
	text    string // all of it
}

// object is one document, typed.
type object struct {
	metav1.Object
	kind string
	text string
	file string
}

func parse(files map[string]string) (manifest, error) {
	var m manifest
	for _, file := range slices.Sorted(maps.Keys(files)) {
		content := files[file]
		if strings.HasSuffix(file, "NOTES.txt") {
			m.notes = content
			continue
		}
		if strings.HasPrefix(filepath.Base(file), "_") || strings.TrimSpace(content) == "" {
			continue
		}
		for _, doc := range strings.Split("\n"+content, "\n---\n") {
			if isEmpty(doc) {
				continue
			}
			o, err := decode(doc)
			if err != nil {
				return manifest{}, fmt.Errorf("%s: %w\n%s", file, err, doc)
			}
			o.file = file
			m.objects = append(m.objects, o)
			m.text += "---\n" + doc + "\n"
		}
	}
	return m, nil
}

// isEmpty reports that a document has nothing but comments.
func isEmpty(doc string) bool {
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// all returns the objects of one type.
func all[T metav1.Object](m manifest) []T {
	var out []T
	for _, o := range m.objects {
		if typed, ok := o.Object.(T); ok {
			out = append(out, typed)
		}
	}
	return out
}

// one returns the object of a type and a name.
func one[T metav1.Object](t *testing.T, m manifest, name string) T {
	t.Helper()
	for _, o := range all[T](m) {
		if o.GetName() == name {
			return o
		}
	}
	var none T
	t.Fatalf("there is no %T %s", none, name)
	return none
}

// asCluster is what a cluster holds after m was applied.
func asCluster(t *testing.T, m manifest) []runtime.Object {
	t.Helper()
	var out []runtime.Object
	for _, o := range m.objects {
		gvk := corev1.SchemeGroupVersion.WithKind(o.kind)
		switch o.kind {
		case "Secret":
		case "StatefulSet", "Deployment":
			gvk = appsv1.SchemeGroupVersion.WithKind(o.kind)
		default:
			continue
		}
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: raw}
		u.SetGroupVersionKind(gvk)
		out = append(out, u)
	}
	return out
}
