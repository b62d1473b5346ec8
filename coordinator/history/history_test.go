package history_test

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/history"
	"pupil/coordinator/wire"
)

func report(step int) wire.Report {
	return wire.Report{
		Worker: "w", Run: "r", Generation: 1, Step: step, Total: 1 << 20, Loss: float64(step), Images: 8, Seconds: 0.5,
		Health: map[string]float64{"even": float64(step % 2)},
	}
}

// check wants points that follow on each other, each with the mean of its steps.
func check(t *testing.T, s *history.Series, last int) {
	t.Helper()
	if n := len(s.Steps); n == 0 || n > history.Capacity || s.Steps[n-1] != last {
		t.Fatalf("%d points up to %v; want step %d", n, s.Steps[max(0, n-1):], last)
	}
	before := 0
	for i, step := range s.Steps {
		if step <= before || step-before > s.Stride {
			t.Fatalf("point %d reaches from %d to %d with a stride of %d", i, before, step, s.Stride)
		}
		if got, want := s.Columns["loss"].Mean[i], float64(before+1+step)/2; math.Abs(got-want) > 1e-6*want {
			t.Fatalf("point %d, steps %d to %d: loss %v, want %v", i, before+1, step, got, want)
		}
		before = step
	}
}

func TestSeries(t *testing.T) {
	var s history.Series
	for step := 1; step <= 10_000; step++ {
		s.Add(report(step), 0)
	}
	check(t, &s, 10_000)
	if s.Stride != 32 || len(s.Steps) < history.Capacity/2 {
		t.Errorf("%d points with a stride of %d", len(s.Steps), s.Stride)
	}
	// A restore: steps are made again.
	at := s.Steps[100]
	for step := at + 1; step <= 9_000; step++ {
		if changed := s.Add(report(step), 0); changed != (step == at+1) {
			t.Fatalf("step %d: %v", step, changed)
		}
	}
	check(t, &s, 9_000)
}

// What is not finite, or not reported, is null; an unknown value of a later report has no past.
func TestSeriesJSON(t *testing.T) {
	var s history.Series
	s.Add(report(1), 5)
	r := report(2)
	r.Loss, r.NonFinite, r.Health = 0, []string{"loss"}, map[string]float64{"rank": 3}
	s.Add(r, 6)
	data, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"stride":1,"steps":[1,2],"columns":{"even":[1,null],"images":[8,8],"learning_rate":[0,0],"loss":[1,null],` +
		`"mutual_information":[0,0],"rank":[null,3],"seconds":[0.5,0.5],"time":[5,6]}}`
	if string(data) != want {
		t.Errorf("%s, want %s", data, want)
	}
	var back history.Series
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil || string(again) != want {
		t.Errorf("read and written again: %s, %v", again, err)
	}
	for _, bad := range []string{
		`{"stride":0,"steps":[1]}`, `{"stride":1,"steps":[2,2]}`, `{"stride":1,"steps":[1],"columns":{"a":[]}}`, `{"stride":-1}`, `[]`,
	} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

// The older series comes before the newer one, whatever their strides.
func TestBefore(t *testing.T) {
	for _, x := range []struct{ old, first, last int }{{100, 101, 150}, {100, 61, 90}, {5000, 4001, 4010}, {10, 11, 9000}, {0, 1, 40}} {
		var old, s history.Series
		for step := 1; step <= x.old; step++ {
			old.Add(report(step), 0)
		}
		for step := x.first; step <= x.last; step++ {
			s.Add(report(step), 0)
		}
		s.Before(&old)
		if n := len(s.Steps); n == 0 || n > history.Capacity || s.Steps[n-1] != x.last || !slices.IsSorted(s.Steps) || s.Steps[0] > s.Stride {
			t.Errorf("%+v: %d points, %v", x, n, s.Steps)
		}
		s.Add(report(x.last+1), 0)
		if n := len(s.Steps); s.Steps[n-1] != x.last+1 {
			t.Errorf("%+v: then %v", x, s.Steps[n-1])
		}
	}
}

func state(phase cluster.Phase, storage string) func() *cluster.State {
	s := cluster.New()
	s.Runs = []cluster.Run{{
		Submission: cluster.Submission{Run: "r", Storage: storage}, Phase: phase,
		Plan: &cluster.Plan{Generation: 1, Members: []cluster.Member{{Worker: "w"}}},
	}}
	return func() *cluster.State { return s }
}

// A coordinator that starts anew has the curves from the run's storage.
func TestRestart(t *testing.T) {
	now := state(cluster.Running, "file://"+t.TempDir())
	first := history.New(history.Config{State: now})
	end := run(t, first)
	for step := 1; step <= 20; step++ {
		first.Take(report(step))
	}
	d := wire.Distributions{Worker: "w", Run: "r", Generation: 1, Step: 20, Rows: 1, Columns: 1, Groups: []wire.Distribution{{}}}
	first.Take(d)
	await(t, first, 20)
	end()

	second := history.New(history.Config{State: now})
	defer run(t, second)()
	second.Take(report(21))
	u := await(t, second, 21)
	check(t, u.Series, 21)
	if u.Distributions == nil || u.Distributions.Step != 20 {
		t.Errorf("distributions %+v", u.Distributions)
	}
}

func run(t *testing.T, h *history.History) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { h.Run(ctx); close(done) }()
	return func() { cancel(); <-done; h.Close() }
}

// await returns all of the series once the storage was read and it has a step.
func await(t *testing.T, h *history.History, step int) *history.Update {
	t.Helper()
	for {
		loaded := h.Loaded("r") // before what is looked at
		u := h.Since("r", 0, 0)
		if n := len(u.Series.Steps); loaded && n > 0 && u.Series.Steps[n-1] == step {
			return u
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it does not come")
		case <-time.After(time.Millisecond):
		}
	}
}

// Who asks again gets what is new.
func TestSince(t *testing.T) {
	h := history.New(history.Config{State: state(cluster.Running, "file://"+t.TempDir())})
	defer run(t, h)()
	h.Take(report(1))
	h.Take(report(2))
	u := await(t, h, 2)
	if u.After != 0 || h.Since("r", u.Version, 2) != nil {
		t.Errorf("%+v", u)
	}
	h.Take(report(3))
	if u = h.Since("r", u.Version, 2); u == nil || u.After != 1 || !slices.Equal(u.Series.Steps, []int{2, 3}) {
		t.Errorf("then %+v", u)
	}
	h.Take(report(2)) // after a restore
	if u = h.Since("r", u.Version, 3); u == nil || u.After != 0 || !slices.Equal(u.Series.Steps, []int{1, 2}) {
		t.Errorf("after a restore: %+v", u)
	}
	if u = h.Since("r", u.Version+7, 3); u == nil || u.After != 0 {
		t.Errorf("to a version of another coordinator: %+v", u)
	}
	if h.Since("none", 0, 0) != nil {
		t.Error("there is no such run")
	}
}

// Only rank 0 of the newest generation counts.
func TestWho(t *testing.T) {
	h := history.New(history.Config{State: state(cluster.Running, "file://"+t.TempDir())})
	defer run(t, h)()
	other, stale, unknown := report(1), report(1), report(1)
	other.Worker, stale.Generation, unknown.Run = "x", 0, "none"
	for _, r := range []wire.Report{other, stale, unknown} {
		h.Take(r)
	}
	next := report(5) // the log is a moment late
	next.Generation, next.Worker = 2, "y"
	h.Take(next)
	if u := await(t, h, 5); len(u.Series.Steps) != 1 {
		t.Errorf("%v", u.Series.Steps)
	}
}

// What comes before the log knows the run waits for the next message.
func TestEarly(t *testing.T) {
	known := state(cluster.Running, "file://"+t.TempDir())
	now := cluster.New
	h := history.New(history.Config{State: func() *cluster.State { return now() }})
	defer run(t, h)()
	for step := 1; step <= 3; step++ {
		h.Take(report(step))
	}
	now = known
	h.Take(report(4))
	check(t, await(t, h, 4).Series, 4)
}
