package testcluster_test

import (
	"encoding/json"
	"testing"

	"pupil/internal/testcluster"
)

// status is what the tests read of `coordinator status --json`.
type status struct {
	Leader string `json:"leader"`
	Runs   []struct {
		Run         string `json:"run"`
		Phase       string `json:"phase"`
		Reason      string `json:"reason"`
		Step        int    `json:"step"`
		Generation  int    `json:"generation"`
		Checkpoints []int  `json:"checkpoints"`
		Weights     string `json:"weights_sha256"`
	} `json:"runs"`
	Workers []struct {
		ID string `json:"id"`
	} `json:"workers"`
}

// until follows the cluster until ok.
func until(t *testing.T, c *testcluster.Cluster, ok func(status) bool) status {
	t.Helper()
	var s status
	c.Watch(func(line []byte) bool {
		s = status{}
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		return ok(s)
	})
	return s
}

// TestClusterUse: what is asked in a wrong way gets an answer that says so.
func TestClusterUse(t *testing.T) {
	c := testcluster.StartCluster(t, 1)
	for _, x := range []struct {
		args    []string
		code    int
		message string
	}{
		{[]string{"status", "gone"}, 2, "no run gone.*coordinator list"},
		{[]string{"cancel", "gone"}, 2, "no run gone"},
		{[]string{"audit", "gone"}, 2, "no run gone"},
		{[]string{"audit"}, 2, "name either a run"},
		{[]string{"members", "add", "c9"}, 2, "id=host:port"},
		{[]string{"members", "remove", "c0"}, 1, "last one"},
		{[]string{"submit", demo, "--set", "steps=3", "--storage", "http://nowhere"}, 2, "supported"},
		{[]string{"submit", demo, "--resume"}, 2, "--run NAME"},
	} {
		_, messages, code := c.Do(x.args...)
		if code != x.code {
			t.Errorf("%v: exit code %d, want %d\n%s", x.args, code, x.code, messages)
		}
		expect(t, messages, x.message)
	}
	var members []struct {
		ID     string `json:"id"`
		Leader bool   `json:"leader"`
	}
	if c.JSON(&members, "members", "list"); len(members) != 1 || members[0].ID != "c0" || !members[0].Leader {
		t.Errorf("members %+v", members)
	}
	c.StartWorker("w0")
	until(t, c, func(s status) bool { return len(s.Workers) == 1 && s.Workers[0].ID == "w0" })
	// A run that waits for workers ends at once, and goes on by --resume.
	var run struct{ Phase, Reason string }
	submit := []string{"submit", demo, "--run", "a", "--min-workers", "2", "--set", "steps=3"}
	if c.JSON(&run, submit...); run.Phase != "waiting" {
		t.Errorf("submitted: %+v", run)
	}
	if c.JSON(&run, "cancel", "a", "--reason", "enough"); run.Phase != "stopped" || run.Reason != "enough" {
		t.Errorf("cancelled: %+v", run)
	}
	if c.JSON(&run, append(submit, "--resume")...); run.Phase != "waiting" {
		t.Errorf("resumed: %+v", run)
	}
}
