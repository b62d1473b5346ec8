package testcluster_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/internal/testcluster"
)

// unpack reads an archive of coordinator diagnose.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "pupil-diagnosis/")] = string(data)
	}
}

// TestDiagnose packs a cluster, one of whose coordinators has died: the archive has what is known of all others, names
// what it has not, and holds no secret.
func TestDiagnose(t *testing.T) {
	t.Setenv("PUPIL_S3_ACCESS_KEY", "hunter5")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter6")
	c := testcluster.StartCluster(t, 3)
	c.StartWorker("w0")
	s := until(t, c, func(s status) bool { return len(s.Workers) == 1 })
	dead := slices.IndexFunc(c.Nodes, func(n *testcluster.Process) bool { return n.Name != s.Leader })
	c.Nodes[dead].Kill()

	log := filepath.Join(t.TempDir(), "old.log")
	if err := os.WriteFile(log, []byte("level=INFO url=nats://someone:hunter2@10.0.0.1:4222 msg=connected\nAuthorization: Bearer hunter3\n"+
		`{"password":"hunter4"}`+"\nthe end\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cluster.tar.gz")
	var said struct{ Entries, Problems []string }
	c.JSON(&said, "diagnose", "--out", file, "--log", log)
	files := unpack(t, file)
	if len(files) != len(said.Entries) || len(said.Problems) != 1 || !strings.Contains(said.Problems[0], c.APIs[dead]) ||
		!strings.Contains(files["problems.txt"], c.APIs[dead]) {
		t.Errorf("%d files, it says %+v", len(files), said)
	}
	for _, name := range []string{"status.json", "members.json", "events.json", "here.json", "workers/w0/process.json"} {
		if !json.Valid([]byte(files[name])) {
			t.Errorf("%s is %q", name, files[name])
		}
	}
	if !strings.Contains(files["events.json"], "joined from") || !strings.Contains(files["workers/w0/goroutines.txt"], "pupil/worker/agent") {
		t.Errorf("too little is known of the worker:\n%s", files["workers/w0/goroutines.txt"])
	}
	live := 0
	for name, text := range files {
		if strings.HasSuffix(name, "/coordinator.json") {
			live++
			if !strings.Contains(text, `"worker_timeout": "3s"`) || !strings.Contains(text, `"leader": "`+s.Leader+`"`) {
				t.Errorf("%s: %s", name, text)
			}
			if stacks := files[strings.Replace(name, "coordinator.json", "goroutines.txt", 1)]; !strings.Contains(stacks, "pupil/coordinator/serve") {
				t.Errorf("the stacks of %s: %s", name, stacks)
			}
		}
	}
	if live != 2 {
		t.Errorf("%d coordinators are described, want 2", live)
	}

	secrets := []string{"hunter2", "hunter3", "hunter4", "hunter5", "hunter6"}
	token, err := os.ReadFile(filepath.Join(c.Folder, "token"))
	if err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, strings.TrimSpace(string(token)))
	broker, err := os.ReadFile(filepath.Join(c.Folder, "broker.json"))
	if err != nil {
		t.Fatal(err)
	}
	var passwords map[string]any
	if err := json.Unmarshal(broker, &passwords); err != nil {
		t.Fatal(err)
	}
	for _, p := range passwords {
		if text, ok := p.(string); ok && len(text) > 8 {
			secrets = append(secrets, text)
		}
	}
	if len(secrets) < 7 {
		t.Errorf("only %d secrets are known", len(secrets))
	}
	for name, text := range files {
		for i, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds the secret %d", name, i)
			}
		}
	}
	if !strings.Contains(files["logs/0-old.log"], "the end") {
		t.Errorf("the log is %q", files["logs/0-old.log"])
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, messages, code := c.Do("diagnose", "--out", file)
	if after, err := os.ReadFile(file); code != 2 || !strings.Contains(messages, "exists") || err != nil || !bytes.Equal(before, after) {
		t.Errorf("a file that is there: exit code %d, %s", code, messages)
	}

	out, messages, code := c.Do("top")
	if code != 0 || !strings.Contains(out, s.Leader+" leads, 1 workers") || !strings.Contains(out, "without lanes: w0") ||
		!strings.Contains(out, "joined from") || strings.Contains(out, "\x1b") {
		t.Errorf("coordinator top: exit code %d, %q, %s", code, out, messages)
	}
	if _, messages, code := c.Do("top", "nobody"); code != 2 || !strings.Contains(messages, "there is no run nobody") {
		t.Errorf("top of a run that is not there: exit code %d, %s", code, messages)
	}
}
