package check_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// TestLint wants nothing to be said by helm lint but that the chart has no icon.
func TestLint(t *testing.T) {
	for _, c := range matrix {
		if c.name != "default" && c.name != "S3" && c.name != "monitored" {
			continue
		}
		result := lint.RunAll(chartFolder, parse(t, c.values), namespace)
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev || !strings.Contains(m.Error(), "icon") {
				t.Errorf("%s: %v", c.name, m)
			}
		}
	}
}

// TestBadValues wants what is wrong to be refused, and the message to name it.
func TestBadValues(t *testing.T) {
	for _, c := range []struct{ values, names string }{
		{`coordinators: {replicas: 2}`, "/coordinators/replicas"},
		{`coordinators: {replica: 3}`, "replica"},
		{`coordinator: {replicas: 3}`, "coordinator"},
		{`coordinators: {founders: 4}`, "/coordinators/founders"},
		{`coordinators: {dataPlane: carrier-pigeon}`, "/coordinators/dataPlane"},
		{`coordinators: {workerTimeout: 3}`, "/coordinators/workerTimeout"},
		{`coordinators: {electionTimeout: soon}`, "/coordinators/electionTimeout"},
		{`coordinators: {storage: {size: much}}`, "/coordinators/storage/size"},
		{`coordinators: {extraArgs: [serve]}`, "/coordinators/extraArgs"},
		{`coordinators: {antiAffinity: sometimes}`, "/coordinators/antiAffinity"},
		{`coordinators: {resources: {limits: null}}`, "/coordinators/resources"},
		{`workers: {kind: DaemonSet}`, "/workers/kind"},
		{`workers: {replicas: -1}`, "/workers/replicas"},
		{`workers: {graceSeconds: 0}`, "/workers/graceSeconds"},
		{`workers: {threads: 0}`, "/workers/threads"},
		{`workers: {resources: {limits: {cpu: null}}}`, "/workers/resources/limits"},
		{`workers: {cache: {persistent: true}}`, "/workers/kind"},
		{`workers: {podDisruptionBudget: {maxUnavailable: some}}`, "/workers/podDisruptionBudget"},
		{`workers: {autoscaling: {lanesPerWorker: 0}}`, "/workers/autoscaling/lanesPerWorker"},
		{`storage: {type: tape}`, "/storage/type"},
		{`storage: {type: s3}`, "/storage/s3/url"},
		{`storage: {type: s3, s3: {url: "https://bucket"}}`, "/storage/s3/url"},
		{`storage: {type: s3, s3: {url: "s3://key:secret@bucket"}}`, "/storage/s3/url"},
		{`storage: {type: volume}`, "/storage/volume/existingClaim"},
		{`nats: {external: {url: "tls://nats.example:4222"}}`, "/nats/external/existingSecret"},
		{`nats: {external: {url: "tls://user:password@nats.example:4222", existingSecret: nats}}`, "/nats/external/url"},
		{`secrets: {existingSecret: "Not a name"}`, "/secrets/existingSecret"},
		{`tls: {enabled: "yes"}`, "/tls/enabled"},
		{`logLevel: loud`, "/logLevel"},
		{`clusterDomain: ""`, "/clusterDomain"},
	} {
		_, err := renderText(t, c.values, nil)
		if err == nil {
			t.Errorf("%s is taken", c.values)
		} else if !strings.Contains(err.Error(), c.names) {
			t.Errorf("%s: the message does not name %s:\n%v", c.values, c.names, err)
		}
	}
}

// TestSchemaIsComplete wants a rule for each value and a value for each rule, so that neither is forgotten.
func TestSchemaIsComplete(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal(read(t, filepath.Join(chartFolder, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	var rules map[string]any
	if err := json.Unmarshal(read(t, filepath.Join(chartFolder, "values.schema.json")), &rules); err != nil {
		t.Fatal(err)
	}
	delete(rules["properties"].(map[string]any), "global") // which every chart has
	compareKeys(t, "", values, rules)
}

func compareKeys(t *testing.T, at string, values, rules map[string]any) {
	t.Helper()
	properties, ok := rules["properties"].(map[string]any)
	if !ok { // free, or by a rule that others share
		return
	}
	if rules["additionalProperties"] != false {
		t.Errorf("%s takes keys that nobody knows", at)
	}
	for key, rule := range properties {
		v, ok := values[key]
		if !ok {
			t.Errorf("values.yaml lacks %s.%s", at, key)
		}
		if below, ok := v.(map[string]any); ok {
			compareKeys(t, at+"."+key, below, rule.(map[string]any))
		}
	}
	for key := range values {
		if _, ok := properties[key]; !ok {
			t.Errorf("values.schema.json lacks %s.%s", at, key)
		}
	}
}

// TestValuesAreUsed wants each value of the chart to be named in a template.
func TestValuesAreUsed(t *testing.T) {
	var values map[string]any
	if err := yaml.Unmarshal(read(t, filepath.Join(chartFolder, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	var templates strings.Builder
	for _, pattern := range []string{"templates/*", "templates/tests/*"} {
		files, err := filepath.Glob(filepath.Join(chartFolder, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, f := range files {
			if s, err := os.Stat(f); err == nil && !s.IsDir() {
				templates.Write(read(t, f))
			}
		}
	}
	var walk func(at string, v map[string]any)
	walk = func(at string, v map[string]any) {
		for key, below := range v {
			whole := slices.Contains([]string{"labels", "annotations", "requests", "limits"}, key)
			if !strings.Contains(templates.String(), "."+key) && !whole && at != ".image" {
				t.Errorf("no template uses %s.%s", at, key)
			}
			if m, ok := below.(map[string]any); ok && !whole {
				walk(at+"."+key, m)
			}
		}
	}
	walk("", values)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
