package chaos

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/audit"
	"pupil/coordinator/cluster"
	"pupil/storage"
	"pupil/storage/location"
)

// at is a time, in milliseconds.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func ended(weights string) *outcome {
	o := &outcome{Detail: &api.Detail{}, audit: &audit.Report{ExactlyOnce: true}}
	o.Phase, o.Weights, o.Committed = cluster.Finished, weights, 6
	return o
}

// TestReport: a worker is killed in a run of steps of 100 ms; it stands still for 400 ms.
func TestReport(t *testing.T) {
	quiet := ended("a")
	for i := range 6 {
		quiet.commits = append(quiet.commits, commit{step: i + 1, at: at(100 * i)})
	}
	struck := ended("a")
	for i, ms := range []int{0, 100, 200, 600, 700, 800} {
		struck.commits = append(struck.commits, commit{step: i + 1, at: at(ms)})
	}
	struck.made = []Injected{
		{Fault: "kill", fault: Fault{Do: Kill, Whom: "worker-3"}, at: at(150)},
		{Fault: "kill", fault: Fault{Do: Kill, Whom: leader}, at: at(50), Failover: 700},
		{Fault: "join", fault: Fault{Do: Join}, at: at(650)},
		{Fault: "stop", fault: Fault{Do: Stop, Whom: leader}, Skipped: "nobody"},
		{Fault: "join", fault: Fault{Do: Join}, at: at(790)}, // the run ended before it could be seen
	}
	r := report(Config{}, quiet, struck)
	if err := r.judge(); err != nil {
		t.Error(err)
	}
	if r.Faults != 4 || r.Skipped != 1 || r.StepsLost != 0 || !r.HashEqual || r.StepSeconds != 0.1 || r.Goodput != 0.625 {
		t.Errorf("report %+v", r)
	}
	if r.Recovery != (Quantiles{P50: 150, P99: 450, Max: 450}) || r.Injected[4].Recovery != -1 {
		t.Errorf("recovery %+v of %+v", r.Recovery, r.Injected)
	}
	if len(r.RecoveryBy) != 3 || r.RecoveryBy[0].Fault != "join" || r.RecoveryBy[2].Fault != "kill worker-N" {
		t.Errorf("by kind: %+v", r.RecoveryBy)
	}
	if r.Pause != (Quantiles{P50: 100, P99: 400, Max: 400}) || r.Failovers != 1 || r.Failover.Max != 700 {
		t.Errorf("pause %+v, failover %+v of %d", r.Pause, r.Failover, r.Failovers)
	}
}

// TestBetween: the pace between faults is that of the steps that none was felt in, on a machine that is slower than it was in quiet.
func TestBetween(t *testing.T) {
	quiet, struck := ended("a"), ended("a")
	quiet.commits = []commit{{1, at(0)}, {2, at(100)}, {3, at(200)}}
	now := 0
	for i := range 101 {
		struck.commits = append(struck.commits, commit{step: i + 1, at: at(now)})
		if now += 200; i%50 < 15 { // for as long as the worker is away, and a little longer
			now += 300
		}
	}
	for _, ms := range []int{0, 14_500} {
		struck.made = append(struck.made, Injected{fault: Fault{Do: Kill, Whom: anyWorker, For: 5500 * time.Millisecond}, at: at(ms)})
	}
	struck.made = append(struck.made, Injected{fault: Fault{Do: Stop, Whom: leader, For: time.Hour}, Skipped: "nobody"})
	r := report(Config{}, quiet, struck)
	if took := 29.0; r.BetweenSeconds != 0.2 || math.Abs(r.GoodputBetween-100*0.2/took) > 1e-9 || math.Abs(r.Goodput-100*0.1/took) > 1e-9 {
		t.Errorf("between %v s, goodput %v and %v", r.BetweenSeconds, r.GoodputBetween, r.Goodput)
	}
	struck.made = []Injected{{fault: Fault{Do: Kill, Whom: anyWorker, For: time.Hour}, at: at(0)}}
	if r := report(Config{}, quiet, struck); r.BetweenSeconds != 0 || r.GoodputBetween != 0 {
		t.Errorf("a fault was on all the time: %v s, %v", r.BetweenSeconds, r.GoodputBetween)
	}
}

// TestReportNotOver: a run that was broken off has what was seen up to then, and claims nothing else.
func TestReportNotOver(t *testing.T) {
	quiet := ended("a")
	quiet.commits = []commit{{1, at(0)}, {2, at(100)}, {3, at(200)}}
	struck := &outcome{commits: []commit{{1, at(0)}, {2, at(100)}, {3, at(300)}}}
	struck.made = []Injected{
		{Fault: "kill", fault: Fault{Do: Kill, Whom: anyWorker}, at: at(50)},
		{Fault: "corrupt", fault: Fault{Do: Corrupt, Whom: checkpoints}, Skipped: "there is no checkpoint yet"},
	}
	r := report(Config{Schedule: Schedule{Faults: make([]Fault, 5)}}, quiet, struck)
	if r.Complete || r.HashEqual || r.ExactlyOnce || r.Outcome != notOver || r.Steps != 3 {
		t.Errorf("it claims more than is known: %+v", r)
	}
	if r.Faults != 1 || r.Skipped != 1 || r.NotMade != 3 || r.Planned != 5 || r.Recovery.Max != 250 {
		t.Errorf("faults: %+v", r)
	}
	if err := r.judge(); !errors.Is(err, ErrDiffers) {
		t.Errorf("a run that is not over is not right: %v", err)
	}
}

// TestFitted: the steps fill the schedule at the pace.
func TestFitted(t *testing.T) {
	for _, x := range []struct {
		end  time.Duration
		step float64
		want int
	}{{2000 * time.Second, 0.2, 10000}, {time.Second, 0.3, 4}, {0, 0.2, 1}} {
		if got := fitted(x.end, x.step); got != x.want {
			t.Errorf("%s of %.1f s: %d steps, want %d", x.end, x.step, got, x.want)
		}
	}
}

func TestProgress(t *testing.T) {
	p := &progress{name: "struck", planned: 200}
	if got, want := p.line(7, 6, 3, time.Minute), "struck: step 7, 3 of 200 faults"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.total.Store(107)
	if got, want := p.line(7, 6, 3, time.Minute), "struck: step 7 of 107, 3 of 200 faults, about 16m40s to go"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestTryAgain: a fault that finds nobody to strike waits until there is somebody, but not longer than it may.
func TestTryAgain(t *testing.T) {
	in := &injector{site: &site{}, place: "file://" + t.TempDir()}
	f := Fault{Do: Corrupt, Whom: checkpoints}
	if i := in.try(t.Context(), f, time.Now()); i.Skipped != "there is no checkpoint yet" {
		t.Errorf("%+v", i)
	}
	made := make(chan error, 1)
	go func() {
		b, err := location.Open(t.Context(), in.place)
		for _, name := range []string{"student.safetensors", "manifest.json"} {
			if err == nil {
				err = storage.WriteAll(t.Context(), b, "checkpoints/00000010/"+name, []byte("weights"))
			}
		}
		made <- err
	}()
	i := in.try(t.Context(), f, time.Now().Add(time.Hour))
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if i.Skipped != "" || i.Whom != "checkpoints/00000010/student.safetensors" {
		t.Errorf("%+v", i)
	}
	b, err := location.Open(t.Context(), in.place)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := storage.ReadAll(t.Context(), b, i.Whom, 100); err != nil || string(data) != "wei\x98hts" {
		t.Errorf("the part is %q now, %v", data, err)
	}
}

// TestJudge: what is lost or differs is an error.
func TestJudge(t *testing.T) {
	quiet := ended("a")
	for name, x := range map[string]struct {
		change func(*outcome)
		want   string
	}{
		"hash":     {func(o *outcome) { o.Weights = "b" }, "the weights differ"},
		"none":     {func(o *outcome) { o.Weights = "" }, "the weights differ"},
		"failed":   {func(o *outcome) { o.Phase, o.Reason = cluster.Failed, "no luck" }, "the run has failed: no luck"},
		"missing":  {func(o *outcome) { o.audit.Missing = []audit.Use{{}} }, "1 lost, 0 repeated"},
		"repeated": {func(o *outcome) { o.audit.Repeated = []audit.Use{{}, {}} }, "0 lost, 2 repeated"},
		"unproved": {func(o *outcome) { o.audit.ExactlyOnce = false }, "samples"},
		"fed":      {func(o *outcome) { o.audit.Fed = &audit.Fed{} }, "samples"},
		"steps":    {func(o *outcome) { o.lost = 3 }, "3 committed steps were made again"},
	} {
		o := ended("a")
		o.audit.Batch, o.audit.Lanes = 8, 1
		x.change(o)
		if err := report(Config{}, quiet, o).judge(); !errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, x.want)
		}
	}
	o := ended("a")
	o.lost = 3
	o.made = []Injected{{fault: Fault{Do: Kill, Whom: allWorkers}}}
	if err := report(Config{}, quiet, o).judge(); err != nil {
		t.Errorf("all workers were killed, and the run went on from its checkpoint: %v", err)
	}
}

// TestTimeline: a step counts once, when it is seen first. A generation that falls back has lost steps, but not when it
// makes only the newest one again.
func TestTimeline(t *testing.T) {
	l := &timeline{moved: make(chan struct{})}
	_, moved := l.now()
	for i, x := range []struct {
		generation uint64
		step       int
	}{{1, 1}, {1, 2}, {2, 2}, {2, 3}, {2, 4}, {2, 5}, {4, 3}, {4, 4}, {4, 5}, {4, 6}} {
		l.add(x.generation, x.step, at(i))
	}
	<-moved
	commits, lost := l.commits()
	var steps []int
	for _, c := range commits {
		steps = append(steps, c.step)
	}
	if want := []int{1, 2, 3, 4, 5, 6}; !slices.Equal(steps, want) || lost != 2 {
		t.Errorf("steps %v, %d lost; want %v and 2", steps, lost, want)
	}
	if newest, _ := l.now(); newest != 6 {
		t.Errorf("the newest is %d", newest)
	}
}
