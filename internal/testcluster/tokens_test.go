package testcluster_test

import (
	"os"
	"path/filepath"
	"testing"

	"pupil/internal/testcluster"
)

// TestWorkerToken lets a coordinator that is alone draw the token of workers: a worker joins with it, and it opens nothing else.
// Coordinators who must all have the same, or whose token it is, say so.
func TestWorkerToken(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "new", "worker.token")
	c := testcluster.StartCluster(t, 1, "--worker-token-file", file)
	c.StartWorker("w0", "--token-file", file) // the last one of a flag counts
	until(t, c, func(s status) bool { return len(s.Workers) == 1 && s.Workers[0].ID == "w0" })
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the token's file: %v, %v", info, err)
	}
	_, messages, code := coordinator(t, folder, "status", "--coordinator", c.APIs[0], "--token-file", file)
	if code != 2 {
		t.Errorf("status with the token of workers: exit code %d", code)
	}
	expect(t, messages, "has the role worker; GET /v1/status needs viewer")

	for message, args := range map[string][]string{
		"cluster's token, which opens everything; give workers one of their own": {"--worker-token-file", filepath.Join(c.Folder, "token")},
		"--worker-token-file: open .*missing: no such file": {
			"--worker-token-file", "missing", "--peers", "c0=127.0.0.1:1,c1=127.0.0.1:2,c2=127.0.0.1:3", "--nats", "nats://127.0.0.1:1",
		},
	} {
		_, messages, code := coordinator(t, folder, append([]string{
			"serve", "--id", "c0", "--data", "c0", "--raft", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--token-file", filepath.Join(c.Folder, "token"),
		}, args...)...)
		if code != 2 {
			t.Errorf("serve %v: exit code %d", args, code)
		}
		expect(t, messages, message)
	}
}

// TestTokenRemoved takes a worker's token away while it trains: it is thrown out at once and comes back no more, its lanes go to
// the others, and the run ends with the weights that it has in any case.
func TestTokenRemoved(t *testing.T) {
	settings := []string{"--set", "steps=40", "--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=10"}
	want := quiet(t, settings...)
	c := testcluster.StartCoordinators(t, 3)
	workers := map[string]*testcluster.Process{}
	for _, id := range []string{"stays", "goes"} {
		file := filepath.Join(t.TempDir(), id)
		if _, messages, code := c.Do("tokens", "add", id, "--role", "worker", "--out", file); code != 0 {
			t.Fatal(messages)
		}
		workers[id] = c.StartWorker(id, "--token-file", file)
	}
	c.JSON(&struct{}{}, append([]string{"submit", demo, "--run", "one", "--workers", "2", "--min-workers", "1"}, settings...)...)
	until(t, c, func(s status) bool { return len(s.Runs) == 1 && s.Runs[0].Step >= 2 && len(s.Workers) == 2 })
	if _, messages, code := c.Do("tokens", "remove", "goes"); code != 0 {
		t.Fatal(messages)
	}
	if code := workers["goes"].Wait(); code != 1 {
		t.Errorf("the worker whose token was removed: exit code %d\n%s", code, workers["goes"].Text())
	}
	s := until(t, c, func(s status) bool { return s.Runs[0].Phase == "finished" || s.Runs[0].Phase == "failed" })
	if len(s.Workers) != 1 || s.Workers[0].ID != "stays" || s.Runs[0].Weights != want || s.Runs[0].Generation < 2 {
		t.Errorf("%+v; want the weights %s of the worker that stays", s, want)
	}
}
