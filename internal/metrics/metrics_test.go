package metrics_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pupil/internal/metrics"
)

// TestEndpointIsNotOpen refuses to serve beyond this machine without a token.
func TestEndpointIsNotOpen(t *testing.T) {
	short, long := filepath.Join(t.TempDir(), "short"), filepath.Join(t.TempDir(), "long")
	for file, text := range map[string]string{short: "secret\n", long: "0123456789abcdef\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		e    metrics.Endpoint
		want string // in the error; "": none
	}{
		{metrics.Endpoint{Listen: "127.0.0.1:9090"}, ""},
		{metrics.Endpoint{Listen: "localhost:9090"}, ""},
		{metrics.Endpoint{Listen: "[::1]:9090"}, ""},
		{metrics.Endpoint{Listen: "0.0.0.0:9090"}, "--metrics-token-file"},
		{metrics.Endpoint{Listen: ":9090"}, "--metrics-token-file"},
		{metrics.Endpoint{Listen: "metrics.example:9090"}, "--metrics-token-file"},
		{metrics.Endpoint{Listen: "0.0.0.0:9090", Insecure: true}, ""},
		{metrics.Endpoint{Listen: "0.0.0.0:9090", TokenFile: long}, ""},
		{metrics.Endpoint{Listen: "0.0.0.0:9090", TokenFile: short}, "6 characters"},
		{metrics.Endpoint{Listen: "0.0.0.0:9090", TokenFile: long + ".gone"}, "no such file"},
		{metrics.Endpoint{Listen: "9090"}, "host:port"},
	} {
		err := x.e.Validate()
		if x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%+v: %v, want %q", x.e, err, x.want)
		}
	}
}

// TestTokenIsReadAnew changes the token while the endpoint runs.
func TestTokenIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	set := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("the first token of all")
	m := metrics.NewWorker("generic")
	e := metrics.Endpoint{Listen: "127.0.0.1:0", TokenFile: file, Ready: m.Ready}
	url, closeAll, err := e.Start(m.Registry)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	get := func(path, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
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
	want := func(path, token string, code int) {
		t.Helper()
		if got, text := get(path, token); got != code {
			t.Errorf("%s with %q: %d %s, want %d", path, token, got, text, code)
		}
	}
	want("/metrics", "the first token of all", http.StatusOK)
	set("another token of the same kind")
	want("/metrics", "the first token of all", http.StatusUnauthorized)
	want("/metrics", "another token of the same kind", http.StatusOK)
	set("")
	want("/metrics", "", http.StatusServiceUnavailable)
	want("/healthz", "", http.StatusOK)
	want("/readyz", "", http.StatusServiceUnavailable)
	m.Joined(true)
	want("/readyz", "", http.StatusOK)
	want("/debug/pprof/", "", http.StatusNotFound)
}

// TestRunsAreForgotten tells only of the run that is carried: labels do not pile up.
func TestRunsAreForgotten(t *testing.T) {
	m := metrics.NewWorker("generic")
	for _, run := range []string{"one", "two"} {
		m.Part(run, 1, 0, 8)
		m.Began("")
		m.Committed(metrics.Step{Step: 1, Terms: []metrics.Term{{Name: "0.kl"}}})
		m.Ring(metrics.Ring{Generation: 1, SentBytes: 10})
		m.Ring(metrics.Ring{Generation: 1, SentBytes: 15})
		m.Left(false, false, false)
	}
	families, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "pupil_worker_ring_sent_bytes_total" && f.GetMetric()[0].GetCounter().GetValue() != 30 {
			t.Errorf("sent %v, want 30", f)
		}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if l.GetName() == "run" && l.GetValue() != "two" {
					t.Errorf("%s still tells of run %s", f.GetName(), l.GetValue())
				}
			}
		}
	}
	var none *metrics.Worker
	none.Part("one", 1, 0, 1)
	none.Committed(metrics.Step{})
	none.Left(true, false, false)
}
