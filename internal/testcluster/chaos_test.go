//go:build e2e

package testcluster_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pupil/coordinator/chaos"
	"pupil/internal/testcluster"
	"pupil/internal/teststore"
)

// TestDemoChaos strikes workers, the leader and the broker of a cluster of three coordinators while it trains, with the
// product's own command. The weights must be those of the quiet run.
func TestDemoChaos(t *testing.T) {
	r := strike(t, `
faults:
  - {at: 1s, do: kill, whom: worker, for: 1s}
  - {at: 3s, do: kill, whom: leader, for: 1s}
  - {at: 5s, do: join}
  - {at: 7s, do: leave, whom: worker, for: 500ms}
  - {at: 9s, do: cut, whom: worker, for: 5s}
  - {at: 10s, do: corrupt, whom: checkpoint}
  - {at: 13s, do: stop, whom: leader, for: 2s}
  - {at: 16s, do: kill, whom: coordinators, for: 1s}
  - {at: 19s, do: kill, whom: broker, for: 500ms}
  - {at: 20s, do: stop, whom: worker, for: 4s}
  - {at: 22s, do: kill, whom: workers, for: 1s}
  - {at: 25s, do: lose, whom: worker, for: 3s}
  - {at: 30s, do: kill, whom: worker, for: 1s}
`+bucketFaults("29s"))
	if r.Faults < 9 || r.Generations < 4 {
		t.Errorf("%+v", r)
	}
	for _, want := range []injected{{Fault: "kill", Whom: "worker-"}, {Fault: "stop", Whom: "worker-"}, {Fault: "stop", Whom: "coordinator-"}} {
		if !slices.ContainsFunc(r.Injected, func(i injected) bool {
			return i.Fault == want.Fault && strings.HasPrefix(i.Whom, want.Whom) && i.Skipped == ""
		}) {
			t.Errorf("no %s of a %s in %+v", want.Fault, want.Whom, r.Injected)
		}
	}
}

// TestPartitions strikes the links between hosts of their own, network namespaces. It needs root, and ip, tc and nft.
func TestPartitions(t *testing.T) {
	r := strike(t, `
seed: 3
faults:
  - {at: 1s, do: cut, whom: leader, for: 4s}
  - {at: 6s, do: cut, whom: worker, for: 5s}
  - {at: 12s, do: part, whom: hosts, for: 2s}
  - {at: 16s, do: lose, whom: broker, for: 2s}
  - {at: 19s, do: slow, whom: broker, for: 2s}
`+bucketFaults("17s"), "--netns", "--workers", "2", "--set", "steps=200")
	if r.Faults < 3 {
		t.Errorf("%+v", r)
	}
	left, err := exec.Command("ip", "netns", "list").CombinedOutput()
	if err != nil || strings.Contains(string(left), "pupil-chaos-") {
		t.Errorf("namespaces after the run: %s, %v", left, err)
	}
}

// TestDemoChaosStore strikes a run whose checkpoints lie on an S3-compatible store, and the way to it.
func TestDemoChaosStore(t *testing.T) {
	teststore.SetEnvironment(t)
	server := teststore.Versity(t)
	r := strike(t, `
faults:
  - {at: 0s, do: fail, whom: bucket, for: 2s}
  - {at: 3s, do: full, whom: bucket, for: 3s}
  - {at: 4s, do: kill, whom: worker, for: 1s}
  - {at: 7s, do: slow, whom: bucket, for: 2s}
  - {at: 9s, do: corrupt, whom: checkpoint}
  - {at: 10s, do: fail, whom: bucket, for: 4s}
  - {at: 11s, do: kill, whom: workers, for: 1s}
  - {at: 12s, do: kill, whom: leader, for: 1s}
`, "--storage", server.URL(t, "runs"), "--workers", "2", "--set", "steps=120", "--set", "checkpoint.every=5")
	if r.Faults < 6 {
		t.Errorf("%+v", r)
	}
}

// bucketFaults strike the runs' storage in each way that this process may.
func bucketFaults(at string) (lines string) {
	for _, k := range chaos.Able(false) {
		if k == chaos.Fail || k == chaos.Full {
			lines += fmt.Sprintf("  - {at: %s, do: %s, whom: bucket, for: 3s}\n", at, k)
		}
	}
	return lines
}

// chaosReport is what is looked at of a run's report.
type chaosReport struct {
	Faults      int        `json:"faults"`
	HashEqual   bool       `json:"hash_equal"`
	Lost        *int       `json:"samples_lost"`
	Repeated    *int       `json:"samples_repeated"`
	StepsLost   *int       `json:"steps_lost"`
	ExactlyOnce bool       `json:"exactly_once"`
	SHA256      string     `json:"sha256"`
	Generations int        `json:"generations"`
	Goodput     float64    `json:"goodput"`
	Injected    []injected `json:"injected"`
	Recovery    struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	} `json:"recovery_ms"`
}

// injected is a fault of the schedule, whom it struck, and why it was not made.
type injected struct {
	Fault   string `json:"fault"`
	Whom    string `json:"whom"`
	Skipped string `json:"skipped"`
}

// strike runs a short job under a schedule, with the product's own command. The result must be that of the quiet run.
func strike(t *testing.T, schedule string, flags ...string) (r chaosReport) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(file, []byte(schedule), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), testcluster.Build(t).Coordinator, append([]string{
		"chaos", demo, "--schedule", file, "--json", "--folder", filepath.Join(t.TempDir(), "chaos"), "--set", "steps=400",
		"--set", "batch=64", "--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=20",
	}, flags...)...)
	cmd.Dir = testcluster.Root()
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	err := cmd.Run()
	t.Logf("%s\n%s", messages.String(), out.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.HashEqual || !r.ExactlyOnce || r.SHA256 == "" {
		t.Errorf("%+v", r)
	}
	if r.Lost == nil || *r.Lost != 0 || r.Repeated == nil || *r.Repeated != 0 || r.StepsLost == nil || r.Goodput <= 0 {
		t.Errorf("samples, steps or goodput: %s", out.String())
	}
	if q := r.Recovery; !(q.P50 > 0 && q.P50 <= q.P99 && q.P99 <= q.Max) {
		t.Errorf("recovery %+v", q)
	}
	return r
}
