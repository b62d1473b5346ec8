package testcluster_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"

	"pupil/internal/testcluster"
)

// conditional are metrics that a quiet cluster on loopback has no reason to tell.
var conditional = []string{"pupil_certificate_expiry_timestamp_seconds", "pupil_run_slow_worker"}

var (
	metricName = regexp.MustCompile(`\b(pupil|process|go)_[a-z0-9_]+`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// checkQuery wants each metric of a query to be among those that were scraped, and each value of a label that it names.
func checkQuery(t *testing.T, where, query string, all map[string]*dto.MetricFamily) {
	t.Helper()
	if query == "" {
		t.Errorf("%s: an empty query", where)
	}
	for _, name := range metricName.FindAllString(query, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if s, ok := strings.CutSuffix(name, suffix); ok && all[s].GetType() == dto.MetricType_HISTOGRAM {
				base = s
			}
		}
		if all[base] == nil && !slices.Contains(conditional, base) {
			t.Errorf("%s: no process tells %s", where, name)
			continue
		}
		after := query[strings.Index(query, name)+len(name):]
		if !strings.HasPrefix(after, "{") {
			continue
		}
		for _, m := range matcher.FindAllStringSubmatch(after[:strings.Index(after, "}")], -1) {
			label, values := m[1], strings.Split(m[3], "|")
			if label == "job" || label == "run" {
				continue
			}
			for _, v := range values {
				if value(all, base, label, v) == -1 && v != "failed" && v != "waiting" && v != "running" {
					t.Errorf("%s: %s has no %s %q", where, name, label, v)
				}
			}
		}
	}
}

// checkDashboard reads the dashboard as Grafana does: panels with a place on the grid, of their own id, and queries.
func checkDashboard(t *testing.T, all map[string]*dto.MetricFamily) {
	data, err := os.ReadFile(filepath.Join(testcluster.Root(), "deploy/grafana/pupil.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID           string `json:"uid"`
		Title         string `json:"title"`
		SchemaVersion int    `json:"schemaVersion"`
		Templating    struct {
			List []struct{ Name, Type, Definition string }
		} `json:"templating"`
		Annotations struct{ List []struct{ Name, Expr string } } `json:"annotations"`
		Panels      []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int } `json:"gridPos"`
			Targets     []struct {
				RefID string `json:"refId"`
				Expr  string
			}
		} `json:"panels"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID == "" || d.Title != "Pupil" || d.SchemaVersion < 30 || len(d.Templating.List) == 0 || len(d.Panels) < 10 {
		t.Errorf("uid %q, title %q, schema version %d, %d variables, %d panels", d.UID, d.Title, d.SchemaVersion, len(d.Templating.List), len(d.Panels))
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			checkQuery(t, "variable "+v.Name, v.Definition, all)
		}
	}
	for _, a := range d.Annotations.List {
		checkQuery(t, "annotation "+a.Name, a.Expr, all)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %q has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("panel %q lies at %+v of 24 columns", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q lie on each other", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		switch p.Type {
		case "row":
			continue
		case "stat", "timeseries":
		default:
			t.Errorf("panel %q is a %q", p.Title, p.Type)
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			checkQuery(t, "panel "+p.Title, q.Expr, all)
		}
	}
}

// checkAlerts reads the alert rules. make check parses them with Prometheus' own parser.
func checkAlerts(t *testing.T, all map[string]*dto.MetricFamily) {
	root := testcluster.Root()
	data, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/pupil-alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Groups) != 1 || len(d.Groups[0].Rules) < 10 {
		t.Fatalf("%d groups", len(d.Groups))
	}
	help, err := os.ReadFile(filepath.Join(root, "docs/troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range d.Groups[0].Rules {
		if seen[r.Alert] || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			!slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
			t.Errorf("alert %q: %+v", r.Alert, r)
		}
		seen[r.Alert] = true
		checkQuery(t, "alert "+r.Alert, r.Expr, all)
		if !strings.Contains(string(help), "`"+r.Alert+"`") {
			t.Errorf("docs/troubleshooting.md does not say what to do for %s", r.Alert)
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs/metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		short := name
		for _, prefix := range []string{"pupil_run", "pupil_train"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				short = rest
			}
		}
		if strings.HasPrefix(name, "pupil_") && !strings.Contains(string(page), "`"+name) && !strings.Contains(string(page), "`"+short) {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
}
