package check_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	chartFolder = "../helm/pupil"
	namespace   = "learning"
)

// release is the chart rendered with some values.
type release struct {
	objects []object
	notes   string
}

// object is one rendered object, decoded into the type of its API.
type object struct {
	file, kind, name string
	value            runtime.Object
	text             string
}

func loadChart(t *testing.T) chart.Charter {
	t.Helper()
	c, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// parse reads values as a user writes them.
func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return values
}

// renderText renders the chart for the release "try" into files. What is there already is what the templates' lookups find.
func renderText(t *testing.T, values string, there []object) (map[string]string, error) {
	t.Helper()
	c := loadChart(t)
	all, err := util.ToRenderValues(c, parse(t, values), common.ReleaseOptions{
		Name: "try", Namespace: namespace, Revision: 1 + len(there), IsInstall: len(there) == 0, IsUpgrade: len(there) > 0,
	}, nil)
	if err != nil {
		return nil, err
	}
	return engine.RenderWithClientProvider(c, all, newCluster(t, there))
}

// render renders the chart and decodes its objects strictly.
func render(t *testing.T, values string, there ...object) release {
	t.Helper()
	files, err := renderText(t, values, there)
	if err != nil {
		t.Fatalf("%v with\n%s", err, values)
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var r release
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch {
		case path.Base(name) == "NOTES.txt":
			r.notes = files[name]
			continue
		case path.Base(name)[0] == '_':
			continue
		}
		for _, document := range documents(t, files[name]) {
			value, kind, err := decoder.Decode([]byte(document), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, document)
			}
			m, err := meta.Accessor(value)
			if err != nil {
				t.Fatal(err)
			}
			r.objects = append(r.objects, object{name, kind.Kind, m.GetName(), value, document})
		}
	}
	return r
}

// documents are the parts of a YAML file that have more than comments.
func documents(t *testing.T, text string) []string {
	t.Helper()
	var all []string
	for r := yamlstream.NewYAMLReader(bufio.NewReader(strings.NewReader(text))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var any map[string]any
		if err := yaml.Unmarshal(document, &any); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(any) > 0 {
			all = append(all, string(bytes.TrimSpace(document)))
		}
	}
}

// find returns the objects of a type.
func find[T any](r release) []T {
	var all []T
	for _, o := range r.objects {
		if v, ok := o.value.(T); ok {
			all = append(all, v)
		}
	}
	return all
}

// known are the kinds that the chart may have.
var known = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(scheme.AddToScheme(s))
	utilruntime.Must(monitoringv1.AddToScheme(s))
	return s
}()

// cluster is what the templates' lookups see.
type cluster struct{ client dynamic.Interface }

func newCluster(t *testing.T, there []object) cluster {
	t.Helper()
	var all []runtime.Object
	for _, o := range there {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o.value)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: fields}
		u.SetNamespace(namespace)
		u.SetGroupVersionKind(o.value.GetObjectKind().GroupVersionKind())
		all = append(all, u)
	}
	return cluster{fake.NewSimpleDynamicClient(known, all...)}
}

// GetClientFor serves what Helm's engine asks for.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	version, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, false, err
	}
	resource, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind))
	return c.client.Resource(resource), true, nil
}
