package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/chaos"
)

func load(t *testing.T, text string) (chaos.Schedule, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faults.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return chaos.LoadSchedule(file)
}

func TestLoadSchedule(t *testing.T) {
	got, err := load(t, `
seed: 5
faults:
  - {at: 9s, do: stop, whom: worker-12, for: 1500ms}
  - {at: 1s, do: kill, whom: leader}
  - {at: 2s, do: join}
`)
	want := chaos.Schedule{Seed: 5, Faults: []chaos.Fault{
		{At: time.Second, Do: chaos.Kill, Whom: "leader"},
		{At: 2 * time.Second, Do: chaos.Join},
		{At: 9 * time.Second, Do: chaos.Stop, Whom: "worker-12", For: 1500 * time.Millisecond},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("schedule %+v, %v; want %+v by time", got, err, want)
	}
	if got.End() != 10500*time.Millisecond {
		t.Errorf("it ends at %s", got.End())
	}
}

// TestWrongSchedules: an error names all that is wrong, and where.
func TestWrongSchedules(t *testing.T) {
	for text, wants := range map[string][]string{
		"":                            {"there are no faults"},
		"faults: [{at: 1s, do: sit}]": {`faults[0]: do is "sit"; it must be one of [kill stop`},
		"faults: [{do: join, whom: leader}, {do: corrupt, whom: broker}]": {
			`faults[0]: join cannot strike "leader"; it can strike ""`, `faults[1]: corrupt cannot strike "broker"`,
		},
		"faults: [{do: kill, whom: worker-x}]":            {`kill cannot strike "worker-x"; it can strike "worker", "worker-N"`},
		"faults: [{at: -1s, do: kill, whom: worker}]":     {"at is -1s"},
		"faults: [{do: stop, whom: worker}]":              {"stop needs for"},
		"faults: [{do: full, whom: bucket}]":              {"full needs for"},
		"faults: [{do: lose, whom: workers, for: 1s}]":    {`lose cannot strike "workers"`},
		"faults: [{do: join}]\n---\nfaults: [{do: join}]": {"more follows the first YAML document"},
		"faults: [{do: kill, whom: worker, when: 3s}]":    {"field when not found"},
		"faults: [{at: soon, do: kill, whom: worker}]":    {"line 1"},
	} {
		_, err := load(t, text)
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		for _, want := range append(wants, "faults.yaml") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error %q does not say %q", text, err, want)
			}
		}
	}
	if _, err := chaos.LoadSchedule(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("no file: %v", err)
	}
}

// TestRandom: what is drawn is valid, follows from the seed alone, comes in time, and holds all kinds that were asked for.
func TestRandom(t *testing.T) {
	const n, every = 200, 10 * time.Second
	seen := map[chaos.Kind]bool{}
	for seed := range uint64(5) {
		s := chaos.Random(seed, n, every, nil, true)
		if err := s.Validate(); err != nil || len(s.Faults) != n {
			t.Fatalf("seed %d: %d faults, %v", seed, len(s.Faults), err)
		}
		if !reflect.DeepEqual(s, chaos.Random(seed, n, every, nil, true)) {
			t.Errorf("seed %d gives another schedule the second time", seed)
		}
		if reflect.DeepEqual(s.Faults, chaos.Random(seed+1, n, every, nil, true).Faults) {
			t.Errorf("seeds %d and %d give the same schedule", seed, seed+1)
		}
		for i, f := range s.Faults {
			seen[f.Do] = true
			if low := time.Duration(i) * every; f.At < low || f.At+f.For > low+every {
				t.Errorf("seed %d: fault %d, %s, is at %s", seed, i, f, f.At)
			}
		}
	}
	for _, k := range chaos.Kinds() {
		if !seen[k] {
			t.Errorf("%s was never drawn", k)
		}
	}
	two := []chaos.Kind{chaos.Stop, chaos.Join}
	for _, f := range chaos.Random(1, 50, every, two, true).Faults {
		if !slices.Contains(two, f.Do) {
			t.Errorf("%s was drawn; only %v were asked for", f, two)
		}
	}
}

// TestLoopback: without network namespaces nothing is drawn that needs them.
func TestLoopback(t *testing.T) {
	for _, f := range chaos.Random(3, 500, 10*time.Second, nil, false).Faults {
		c := chaos.Config{
			Workers: 1, Coordinators: 3, Threads: 1, WorkerTimeout: time.Second, Schedule: chaos.Schedule{Faults: []chaos.Fault{f}},
		}
		if err := c.Validate(); err != nil && f.Do != chaos.Full {
			t.Errorf("%s was drawn: %v", f, err)
		}
	}
	if s := chaos.Random(3, 5, 10*time.Second, []chaos.Kind{chaos.Part}, false); len(s.Faults) != 0 {
		t.Errorf("parts were drawn: %v", s.Faults)
	}
}

func TestConfig(t *testing.T) {
	c := chaos.Config{
		Coordinators: 2, WorkerTimeout: time.Millisecond,
		Schedule: chaos.Schedule{Faults: []chaos.Fault{
			{Do: chaos.Kill, Whom: "coordinator-4"},
			{Do: chaos.Cut, Whom: "leader", For: time.Second},
			{Do: chaos.Part, Whom: "hosts", For: time.Second},
			{Do: chaos.Cut, Whom: "worker-0", For: time.Second},
		}},
		DataPlane: "local",
	}
	err := c.Validate()
	for _, want := range []string{
		"workers is 0", "coordinators is 2; it must be 1, 3 or 5", "threads is 0", "worker timeout is 1ms",
		"faults[0] strikes coordinator-4; there are only 2", "faults[1]: cut leader for 1s needs network namespaces (--netns)",
		"faults[2]: part hosts for 1s needs", "data plane is local",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "faults[3]") {
		t.Errorf("a worker can be cut off on loopback: %v", err)
	}
}

func ExampleRandom() {
	for _, f := range chaos.Random(7, 3, 10*time.Second, []chaos.Kind{chaos.Kill}, false).Faults {
		fmt.Println(f.At, f)
	}
	// Output:
	// 255ms kill follower for 3.883s
	// 11.377s kill follower for 3.852s
	// 22.453s kill worker for 4.391s
}
