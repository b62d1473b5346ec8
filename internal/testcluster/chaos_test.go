//go:build e2e

package testcluster_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pupil/internal/testcluster"
)

// TestDemoChaos strikes workers, the leader and the broker of a cluster of three coordinators while it trains, with the
// product's own command. The weights must be those of the quiet run.
func TestDemoChaos(t *testing.T) {
	schedule := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(schedule, []byte(`
faults:
  - {at: 1s, do: kill, whom: worker, for: 1s}
  - {at: 3s, do: kill, whom: leader, for: 1s}
  - {at: 5s, do: join}
  - {at: 7s, do: leave, whom: worker, for: 500ms}
  - {at: 9s, do: cut, whom: worker, for: 5s}
  - {at: 10s, do: corrupt, whom: checkpoint}
  - {at: 16s, do: kill, whom: coordinators, for: 1s}
  - {at: 19s, do: kill, whom: broker, for: 500ms}
  - {at: 22s, do: kill, whom: workers, for: 1s}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Coordinator, "chaos", demo, "--schedule", schedule, "--json",
		"--folder", filepath.Join(t.TempDir(), "chaos"), "--set", "steps=400", "--set", "batch=64", "--set", "student.width=0.25",
		"--set", "dataset.test=", "--set", "checkpoint.every=20")
	cmd.Dir = testcluster.Root()
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, messages.String(), out.String())
	}
	var r struct {
		Faults      int    `json:"faults"`
		HashEqual   bool   `json:"hash_equal"`
		ExactlyOnce bool   `json:"exactly_once"`
		SHA256      string `json:"sha256"`
		Generations int    `json:"generations"`
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if r.Faults < 7 || !r.HashEqual || !r.ExactlyOnce || r.SHA256 == "" || r.Generations < 4 {
		t.Errorf("%+v\n%s", r, messages.String())
	}
	t.Logf("%s\n%s", messages.String(), out.String())
}
