package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pupil/internal/testcluster"
)

// get asks for a page and returns its status and text.
func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// keep writes a scrape to the folder PUPIL_SCRAPES, if that is set, for deploy/prometheus/_check: the first one of a process as that
// before, and the newest as that after.
func keep(t *testing.T, url, text string) {
	t.Helper()
	folder := os.Getenv("PUPIL_SCRAPES")
	if folder == "" {
		return
	}
	name := filepath.Join(folder, strings.NewReplacer("http://", "", ":", "-").Replace(url))
	file := name + "-after.prom"
	if _, err := os.Stat(name + "-before.prom"); errors.Is(err, os.ErrNotExist) {
		file = name + "-before.prom"
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// scrape reads metrics as Prometheus does, and lints them.
func scrape(t *testing.T, url, token string) map[string]*dto.MetricFamily {
	t.Helper()
	code, text := get(t, url+"/metrics", token)
	if code != http.StatusOK {
		t.Fatalf("%s: %d %s", url, code, text)
	}
	keep(t, url, text)
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "pupil_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewBufferString(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value is that of the series with some labels, summed when there are several; -1 when there is none.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	sum, found := 0., false
	for _, m := range families[name].GetMetric() {
		fits := true
		for i := 0; i < len(labels); i += 2 {
			has := false
			for _, l := range m.GetLabel() {
				has = has || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			}
			fits = fits && has
		}
		if fits {
			found = true
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		return -1
	}
	return sum
}

// metricsURL is where a process says that its metrics are.
func metricsURL(t *testing.T, p *testcluster.Process) string {
	t.Helper()
	for {
		for line := range strings.Lines(p.Text()) {
			if _, url, ok := strings.Cut(line, "url="); ok && strings.Contains(line, "msg=metrics") && strings.HasSuffix(line, "\n") {
				return strings.TrimSuffix(strings.Trim(strings.TrimSpace(url), `"`), "/metrics")
			}
		}
		select {
		case <-t.Context().Done():
			t.Fatal(p.Text())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// TestMetrics scrapes a cluster that trains: each process tells what it does, by Prometheus' rules, and only to those who
// have the token. What the dashboard and the alert rules ask for is there.
func TestMetrics(t *testing.T) {
	const steps = 12
	c := testcluster.StartCluster(t, 1)
	const secret = "a token for scrapes alone"
	file := filepath.Join(t.TempDir(), "scrape")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	workers := []*testcluster.Process{
		c.StartWorker("w0", "--metrics-listen", "127.0.0.1:0", "--metrics-token-file", file),
		c.StartWorker("w1", "--metrics-listen", "127.0.0.1:0"),
	}
	urls := []string{metricsURL(t, workers[0]), metricsURL(t, workers[1])}
	tokens := []string{secret, ""}
	clusterToken, err := os.ReadFile(filepath.Join(c.Folder, "token"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, c, func(s status) bool { return len(s.Workers) == 2 })
	for url, token := range map[string]string{urls[0]: tokens[0], urls[1]: tokens[1], c.APIs[0]: strings.TrimSpace(string(clusterToken))} {
		scrape(t, url, token)
	}
	var run struct{ Phase string }
	c.JSON(&run, "submit", demo, "--run", "one", "--workers", "2", "--min-workers", "2", "--set", "steps=12", "--set", "batch=64",
		"--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=5", "--set", "checkpoint.keep=5")
	until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Phase == "finished" })

	all := map[string]*dto.MetricFamily{}
	samples, checkpoints := 0., 0.
	for i, url := range urls {
		w := scrape(t, url, tokens[i])
		for name, f := range w {
			all[name] = f
		}
		if n := value(w, "pupil_worker_steps_total"); n != steps {
			t.Errorf("worker %d: %v steps, want %d", i, n, steps)
		}
		if n := value(w, "pupil_worker_step_duration_seconds"); n != steps {
			t.Errorf("worker %d: the time of %v steps, want %d", i, n, steps)
		}
		samples += value(w, "pupil_worker_samples_total")
		checkpoints += value(w, "pupil_worker_checkpoints_total")
		for _, phase := range []string{"input", "teacher", "forward", "joint", "backward", "communication", "update"} {
			if v := value(w, "pupil_worker_phase_seconds_total", "phase", phase); v <= 0 {
				t.Errorf("worker %d: phase %s took %v s", i, phase, v)
			}
		}
		whole := 0.
		for _, use := range []string{"compute", "communication", "input", "recovery", "start", "wait"} {
			v := value(w, "pupil_worker_time_seconds_total", "use", use)
			if v < 0 {
				t.Errorf("worker %d: %v s of %s", i, v, use)
			}
			whole += v
		}
		lives := float64(time.Now().UnixMilli())/1000 - value(w, "process_start_time_seconds")
		if whole <= 0 || whole > lives+5 { // the start is known to the clock tick only
			t.Errorf("worker %d: the uses are %v s, and it has lived for %v s", i, whole, lives)
		}
		if value(w, "pupil_worker_ring_sent_bytes_total") < 1e5 || value(w, "pupil_worker_ring_received_bytes_total") < 1e5 {
			t.Errorf("worker %d: too few bytes: %v", i, w["pupil_worker_ring_sent_bytes_total"])
		}
		if value(w, "pupil_train_loss", "run", "one") == -1 || value(w, "pupil_train_loss_term", "run", "one") == -1 ||
			value(w, "pupil_train_mutual_information_nats", "run", "one") < 0 || value(w, "pupil_train_step") != steps {
			t.Errorf("worker %d tells nothing of the loss: %v", i, w["pupil_train_loss"])
		}
		if value(w, "pupil_worker_generations_total") != 1 || value(w, "pupil_worker_joined") != 1 || value(w, "pupil_build_info") != 1 {
			t.Errorf("worker %d: %v", i, w["pupil_worker_generations_total"])
		}
	}
	if samples != 64*steps {
		t.Errorf("the workers were fed %v images, want %d", samples, 64*steps)
	}
	if checkpoints != 3 { // of 5, 10 and 12
		t.Errorf("%v checkpoints, want 3", checkpoints)
	}
	leader := scrape(t, c.APIs[0], strings.TrimSpace(string(clusterToken)))
	for name, f := range leader {
		all[name] = f
	}
	for _, x := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "pupil_coordinator_leader", nil},
		{1, "pupil_coordinator_members", nil},
		{2, "pupil_cluster_workers", nil},
		{1, "pupil_cluster_runs", []string{"phase", "finished"}},
		{steps, "pupil_run_committed_steps", []string{"run", "one"}},
		{1, "pupil_run_generation", nil},
		{8, "pupil_run_lanes", nil},
		{0, "pupil_run_unsaved_steps", nil},
		{2, "pupil_coordinator_commands_total", []string{"kind", "join"}},
		{1, "pupil_coordinator_commands_total", []string{"kind", "planned"}},
		{3, "pupil_coordinator_commands_total", []string{"kind", "checkpointed"}},
	} {
		if v := value(leader, x.name, x.labels...); v != x.want {
			t.Errorf("%s %v is %v, want %v", x.name, x.labels, v, x.want)
		}
	}
	if v := value(leader, "pupil_run_checkpoint_timestamp_seconds"); v < 1.7e9 {
		t.Errorf("the newest checkpoint is of %v", v)
	}

	for _, x := range []struct {
		url, token string
		want       int
	}{
		{urls[0] + "/metrics", "", http.StatusUnauthorized},
		{urls[0] + "/metrics", secret + "x", http.StatusUnauthorized},
		{urls[0] + "/healthz", "", http.StatusOK},
		{urls[0] + "/readyz", "", http.StatusOK},
		{c.APIs[0] + "/metrics", "", http.StatusUnauthorized},
		{c.APIs[0] + "/readyz", "", http.StatusOK},
	} {
		if code, text := get(t, x.url, x.token); code != x.want {
			t.Errorf("%s: %d %s, want %d", x.url, code, text, x.want)
		}
	}
	t.Run("Dashboard", func(t *testing.T) { checkDashboard(t, all) })
	t.Run("Alerts", func(t *testing.T) { checkAlerts(t, all) })
}
