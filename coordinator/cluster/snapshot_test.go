package cluster_test

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/cluster"
)

// goldenState has something in every field.
func goldenState() *cluster.State {
	s := newScript()
	for _, line := range strings.Split(`submit a min=2 lanes=3 restore=4
join w0
join w1
lost w9 exit status 1
decide
checkpointed step=8
tick 1s
lost w1 killed
decide
resume a min=1 lanes=3
submit b
decide
stop a asked to
ended w0 stopped step=12 weights=aa
decide
stop b asked to`, "\n") {
		s.do(strings.Fields(line))
	}
	return s.state
}

const golden = "testdata/snapshot.json"

// TestSnapshotFormat holds the format to that of the file: states written by older builds of this version stay
// readable.
func TestSnapshotFormat(t *testing.T) {
	state := goldenState()
	data, err := state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	if *update {
		if err := os.WriteFile(golden, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	read, err := cluster.Decode(old)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, state) {
		t.Errorf("%s is read as\n%+v, want\n%+v", golden, read, state)
	}
	if a, b := withoutSpecs(t, data), withoutSpecs(t, old); !reflect.DeepEqual(a, b) {
		t.Errorf("the format has changed: raise the version, or run with -update when it only grew; it is\n%s",
			indented.Bytes())
	}
}

// withoutSpecs decodes a state and drops the jobs, whose format is another package's.
func withoutSpecs(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	for _, r := range v["state"].(map[string]any)["runs"].([]any) {
		delete(r.(map[string]any), "spec")
	}
	return v
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"nothing", ``, "unexpected end"},
		{"no state", `{"version":1}`, "it is missing"},
		{"later version", `{"version":2,"more":{}}`, "it has version 2; this build reads 1"},
		{"trailing bytes", `{"version":1,"state":{}} {}`, "invalid character"},
		{"workers out of order", `{"version":1,"state":{"workers":[{"id":"b"},{"id":"a"}]}}`, `worker "a" is out of order`},
		{"worker without its run", `{"version":1,"state":{"workers":[{"id":"b","run":"r"}]}}`, "which has none"},
		{"run without a spec", `{"version":1,"state":{"runs":[{"run":"r"}]}}`, "run r has no spec"},
		{
			"running without a plan",
			`{"version":1,"state":{"runs":[{"run":"r","spec":{"lanes":1},"min_workers":1,"phase":"running"}]}}`,
			"running without a plan",
		},
		{
			"plan without a lane",
			`{"version":1,"state":{"runs":[{"run":"r","spec":{"lanes":1},"min_workers":1,"plan":{}}]}}`,
			"nobody carries lane 0",
		},
	} {
		if _, err := cluster.Decode([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one that contains %q", c.name, err, c.want)
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	s := cluster.New()
	for i := range 3 * cluster.MaxEvents {
		at := time.Unix(int64(i), 0)
		if err := s.Apply(at, cluster.Restarted{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Events); n != cluster.MaxEvents || s.Events[n-1].Sequence != 3*cluster.MaxEvents {
		t.Errorf("%d events, the last %+v", n, s.Events[n-1])
	}
}

func FuzzDecode(f *testing.F) {
	data, err := goldenState().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"state":{"runs":[{"run":"r","spec":{"lanes":1},"min_workers":1,"phase":"waiting"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := cluster.Decode(data)
		if err != nil {
			return
		}
		// Whatever was decoded can be worked with.
		at := time.Unix(1e9, 0)
		for range 4 {
			if d, _ := cluster.Decide(s, at, cluster.DefaultConfig()); d.Command != nil {
				_ = s.Apply(at, d.Command)
			}
		}
		for _, w := range s.Workers {
			s.Order(w.ID)
		}
		_ = s.Apply(at, cluster.Restarted{})
		if _, err := s.Encode(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range []cluster.Command{
		cluster.Submit{},
		cluster.Resume{},
		cluster.Join{Worker: "w"},
		cluster.Lost{},
		cluster.Leave{},
		cluster.Planned{Plan: cluster.Plan{Generation: 1, Members: []cluster.Member{{Worker: "w0", Lanes: []int{0, 1, 2}}}}},
		cluster.Committed{},
		cluster.Checkpointed{},
		cluster.Ended{},
		cluster.StopRequested{},
		cluster.Draining{},
		cluster.Began{},
		cluster.Noticed{},
		cluster.Measured{},
		cluster.YieldRequested{},
		cluster.Suspended{},
		cluster.Concluded{},
		cluster.Restarted{},
		cluster.Forgotten{Run: "a"},
		cluster.Preparing{Worker: "w1", Run: "a"},
		cluster.Prepared{Worker: "w1", Session: "w1-1", Run: "a"},
	} {
		data, err := cluster.EncodeCommand(time.Unix(1e9, 0), c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		at, c, err := cluster.DecodeCommand(data)
		if err != nil {
			return
		}
		s := goldenState()
		before, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		err = s.Apply(at, c)
		after, encodeErr := s.Encode()
		if encodeErr != nil {
			t.Fatalf("%+v leaves a state that cannot be encoded: %v", c, encodeErr)
		}
		if err != nil && !bytes.Equal(before, after) {
			t.Fatalf("%+v was refused (%v), but changed the state", c, err)
		}
	})
}
