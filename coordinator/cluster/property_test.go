package cluster_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/job"
	"pupil/internal/random"
)

// TestRandomEvents applies random events, also nonsensical ones, lets Decide answer, and holds the state to what must
// always be true. A failure prints the seed that brings it back.
func TestRandomEvents(t *testing.T) {
	planned, most := 0, 0
	for seed := range uint64(40) {
		w := &world{t: t, seed: seed, r: random.New(random.PurposeTest, seed), state: cluster.New(), now: time.Unix(1e9, 0)}
		w.encoded = w.encode(w.state)
		for range 100 {
			w.now = w.now.Add(time.Duration(w.r.IntN(20)) * time.Second)
			w.apply(w.event())
			w.settle()
		}
		planned += len(w.plans)
		most = max(most, w.most)
	}
	if most < 2 {
		t.Errorf("never more than %d run was carried at a time", most)
	}
	if planned < 100 {
		t.Errorf("only %d plans were made; the events do not test much", planned)
	}
}

type world struct {
	t     *testing.T
	seed  uint64
	r     *random.Stream
	state *cluster.State
	now   time.Time
	plans []cluster.Plan // by generation, from 1
	most  int            // runs at a time

	encoded []byte // the state
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("seed %d: %s", w.seed, fmt.Sprintf(format, args...))
}

// event makes up something that happens.
func (w *world) event() cluster.Command {
	worker := fmt.Sprintf("w%d", w.r.IntN(5))
	session := fmt.Sprintf("s%d", w.r.IntN(2))
	if live := w.state.Worker(worker); live != nil && w.r.IntN(4) > 0 {
		session = live.Session
	}
	run := fmt.Sprintf("r%d", w.r.IntN(3))
	if a := w.state.Active(); a != nil && w.r.IntN(4) > 0 {
		run = a.Run
	}
	generation := w.state.Generation
	if r := w.state.Run(run); r != nil && r.Plan != nil {
		generation = r.Plan.Generation
	}
	if generation > 0 && w.r.IntN(4) == 0 {
		generation--
	}
	step := w.r.IntN(100)
	submission := cluster.Submission{
		Run: run, Spec: &job.Spec{Lanes: 1 + w.r.IntN(9)}, MinWorkers: 1 + w.r.IntN(3), Workers: w.r.IntN(4), MaxWorkers: w.r.IntN(5), Restore: w.r.IntN(5) - 1,
	}
	switch w.r.IntN(23) {
	case 0:
		return cluster.Submit{Submission: submission}
	case 1, 2:
		if r := w.state.Run(run); r != nil {
			submission.Spec = r.Spec
		}
		return cluster.Resume{Submission: submission}
	case 3, 4, 5, 6, 7:
		return cluster.Join{Worker: worker, Session: session, Kernel: "avx2"}
	case 8:
		return cluster.Lost{Worker: worker, Session: []string{session, ""}[w.r.IntN(2)], Reason: "killed"}
	case 9:
		return cluster.Leave{Worker: worker, Session: session}
	case 10:
		return cluster.Committed{Run: run, Generation: generation, Step: step}
	case 11:
		return cluster.Checkpointed{Run: run, Generation: generation, Step: step}
	case 12, 13:
		outcomes := []cluster.Phase{cluster.Finished, cluster.Stopped, cluster.Failed, cluster.Yielded, cluster.Interrupted}
		return cluster.Ended{
			Worker: worker, Run: run, Generation: generation, Outcome: outcomes[w.r.IntN(len(outcomes))], Error: "broken", Step: step,
		}
	case 14:
		return cluster.StopRequested{Run: run, Reason: "asked to"}
	case 15:
		return cluster.Draining{Worker: worker, Session: session, Reason: "SIGTERM"}
	case 16, 17:
		return cluster.Began{Worker: worker, Run: run, Generation: generation, Step: step, From: "its own"}
	case 19:
		return cluster.Measured{Run: run, Generation: generation, Paces: []cluster.Pace{{Worker: worker, Seconds: float64(w.r.IntN(8))}}}
	case 20, 21: // as a worker that was asked answers
		answer := cluster.Prepared{Worker: worker, Session: session, Run: run}
		if live := w.state.Worker(worker); live != nil && w.r.IntN(4) > 0 {
			answer.Run = live.Preparing
		}
		if w.r.IntN(4) == 0 {
			answer.Error = "no data"
		}
		return answer
	case 18:
		return cluster.YieldRequested{Run: run, Generation: generation, Reason: "because", Handover: w.r.IntN(2) == 0}
	}
	if w.r.IntN(8) == 0 {
		return cluster.Restarted{}
	}
	if w.r.IntN(4) == 0 {
		return cluster.TookOver{Coordinator: "c1"}
	}
	if w.r.IntN(3) == 0 {
		return cluster.Suspended{Run: run, Generation: generation, Reason: "because"}
	}
	// A plan that nobody has decided.
	return cluster.Planned{Run: run, Plan: cluster.Plan{Generation: w.state.Generation + uint64(w.r.IntN(2))}}
}

// apply applies a command, by way of its encoding, and compares the state with that before.
func (w *world) apply(c cluster.Command) {
	w.t.Helper()
	before := w.state.Clone()
	encoded := w.encoded
	data, err := cluster.EncodeCommand(w.now, c)
	if err != nil {
		w.fatalf("%v", err)
	}
	at, decoded, err := cluster.DecodeCommand(data)
	if err != nil || !at.Equal(w.now) || !reflect.DeepEqual(c, decoded) {
		w.fatalf("%+v came back as %+v at %s: %v", c, decoded, at, err)
	}
	err = w.state.Apply(w.now, decoded)
	w.encoded = w.encode(w.state)
	if err != nil {
		if !errors.Is(err, cluster.ErrRefused) && !errors.Is(err, cluster.ErrStale) && !errors.Is(err, cluster.ErrUnknown) {
			w.fatalf("%+v: error %v", c, err)
		}
		if !bytes.Equal(encoded, w.encoded) {
			w.fatalf("%+v was refused (%v), but changed the state from\n%s to\n%s", c, err, encoded, w.encoded)
		}
	}
	// What costs much is done now and then.
	if w.r.IntN(8) == 0 && !bytes.Equal(encoded, w.encode(before)) {
		w.fatalf("%+v changed a clone", c)
	}
	w.compare(before, c)
	w.check()
}

func (w *world) encode(s *cluster.State) []byte {
	w.t.Helper()
	data, err := s.Encode()
	if err != nil {
		w.fatalf("%v", err)
	}
	return data
}

// settle lets Decide answer until there is nothing to do.
func (w *world) settle() {
	w.t.Helper()
	for range 10 {
		d, why := cluster.Decide(w.state, w.now, cluster.DefaultConfig())
		switch {
		case (d.Kind == cluster.DoNothing || d.Kind == cluster.DoWait) != (d.Command == nil):
			w.fatalf("decision %+v", d)
		case (d.Kind == cluster.DoWait) != d.Until.After(w.now):
			w.fatalf("decision %+v at %s", d, w.now)
		case why == "":
			w.fatalf("decision %+v without a reason", d)
		}
		if d.Command == nil {
			return
		}
		sequence := w.state.Sequence
		w.apply(d.Command)
		if w.state.Sequence == sequence {
			w.fatalf("decision %+v was refused", d)
		}
	}
	w.fatalf("decisions do not come to an end")
}

// compare holds what happened to what may happen.
func (w *world) compare(before *cluster.State, c cluster.Command) {
	w.t.Helper()
	s := w.state
	if s.Generation < before.Generation || s.Generation > before.Generation+1 {
		w.fatalf("%+v: generation from %d to %d", c, before.Generation, s.Generation)
	}
	for _, was := range before.Runs {
		r := s.Run(was.Run)
		if r == nil {
			w.fatalf("%+v: run %s is gone", c, was.Run)
		}
		if r.Committed < was.Committed {
			w.fatalf("%+v: run %s has committed %d steps, after %d", c, r.Run, r.Committed, was.Committed)
		}
		if _, resumed := c.(cluster.Resume); was.Phase.Over() && r.Phase != was.Phase && !resumed {
			w.fatalf("%+v: run %s was %s and is %s", c, r.Run, was.Phase, r.Phase)
		}
	}
	if s.Generation > before.Generation {
		for _, r := range s.Runs {
			if r.Plan != nil && r.Plan.Generation == s.Generation {
				w.plans = append(w.plans, *r.Plan)
			}
		}
	}
}

// check holds the state to what is always true.
func (w *world) check() {
	w.t.Helper()
	s := w.state
	running := 0
	for _, r := range s.Runs {
		if r.Phase == cluster.Running || r.Phase == cluster.Stopping {
			running++
		}
		if !slices.IsSorted(r.Checkpoints) {
			w.fatalf("checkpoints %v", r.Checkpoints)
		}
		if p := r.Plan; p != nil {
			if !reflect.DeepEqual(*p, w.plans[p.Generation-1]) {
				w.fatalf("generation %d had the plan %+v and has %+v", p.Generation, w.plans[p.Generation-1], *p)
			}
			if err := cluster.CheckLanes(r.Spec.Lanes, p.Members); err != nil {
				w.fatalf("generation %d has the plan %+v: %v", p.Generation, *p, err)
			}
		}
	}
	w.most = max(w.most, running)
	for _, worker := range s.Workers {
		o := s.Order(worker.ID)
		if (o.Instruction == cluster.Rest || o.Instruction == cluster.Ready) != (worker.Run == "") || (o.Instruction == cluster.Halt) != (o.Instruction != cluster.Pause && o.Reason != "") {
			w.fatalf("worker %+v has the order %+v", worker, o)
		}
		if worker.Run == "" {
			continue
		}
		r := s.Run(worker.Run)
		if n := len(r.Plan.Members); r.MaxWorkers > 0 && n > r.MaxWorkers {
			w.fatalf("run %+v is carried by %d workers", r, n)
		}
		if r.Phase != cluster.Running && r.Phase != cluster.Stopping || r.Plan.Generation != worker.Generation || r.Plan.Rank(worker.ID) < 0 {
			w.fatalf("worker %+v shall carry a plan of run %+v", worker, r)
		}
	}
	for _, r := range s.Runs {
		w.checkLedger(r)
	}
	if w.r.IntN(8) > 0 {
		return
	}
	again, err := cluster.Decode(w.encoded)
	if err != nil {
		w.fatalf("%v", err)
	}
	if !bytes.Equal(w.encoded, w.encode(again)) {
		w.fatalf("the state comes back changed:\n%s", w.encoded)
	}
}

// checkLedger holds the ledger to what it promises: no gap, and no step by two generations.
func (w *world) checkLedger(r cluster.Run) {
	w.t.Helper()
	for i, span := range r.Spans {
		if span.From > span.To || i > 0 && (r.Spans[i-1].To != span.From || r.Spans[i-1].Generation >= span.Generation) {
			w.fatalf("run %s has the ledger %+v", r.Run, r.Spans)
		}
	}
	if n := len(r.Spans); n > 0 && r.Spans[n-1].Generation == r.Plan.Generation && r.Spans[n-1].To > r.Committed {
		w.fatalf("run %s has the ledger %+v, and %d committed steps", r.Run, r.Spans, r.Committed)
	}
}

// TestLanePlans makes plans for changing sets of workers. Every lane has one carrier, shares differ by one at most, and
// no plan with such shares moves fewer lanes (for few workers all shares are tried).
func TestLanePlans(t *testing.T) {
	for seed := range uint64(300) {
		r := random.New(random.PurposeTest, seed)
		lanes := 1 + r.IntN(12)
		var previous []cluster.Member
		for range 8 {
			var workers []string
			for i := range 5 {
				if r.IntN(2) == 0 {
					workers = append(workers, fmt.Sprintf("w%d", i))
				}
			}
			if len(workers) == 0 {
				continue
			}
			members := cluster.PlanLanes(lanes, workers, previous)
			if err := cluster.CheckLanes(lanes, members); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			kept := 0
			for i, m := range members {
				if m.Worker != workers[i] || !slices.IsSorted(m.Lanes) {
					t.Fatalf("seed %d: member %d is %+v", seed, i, m)
				}
				if n := len(m.Lanes) - lanes/len(workers); n != 0 && n != 1 {
					t.Fatalf("seed %d: %d lanes on %d workers, %d on %s", seed, lanes, len(workers), len(m.Lanes), m.Worker)
				}
				for _, l := range m.Lanes {
					if carrier(previous, l) == m.Worker {
						kept++
					}
				}
			}
			if want := mostKept(lanes, workers, previous); kept != want {
				t.Fatalf("seed %d: of %d lanes %d stay; %d could\nfrom %v\nto   %v", seed, lanes, kept, want, previous, members)
			}
			previous = members
		}
	}
}

// TestPlansByPace: nobody could take a lane from the slowest member and be done sooner than it was.
func TestPlansByPace(t *testing.T) {
	for seed := range uint64(200) {
		r := random.New(random.PurposeTest, seed)
		lanes, workers := 1+r.IntN(16), []string{"w0", "w1", "w2", "w3"}[:1+r.IntN(4)]
		var paces []cluster.Pace
		weight := map[string]float64{}
		for _, w := range workers {
			weight[w] = 0.1 + r.Float64()
			paces = append(paces, cluster.Pace{Worker: w, Seconds: weight[w]})
		}
		members := cluster.PlanByPace(lanes, workers, cluster.PlanLanes(lanes, workers, nil), paces)
		if err := cluster.CheckLanes(lanes, members); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		slowest := slices.MaxFunc(members, func(a, b cluster.Member) int {
			return cmp.Compare(float64(len(a.Lanes))*weight[a.Worker], float64(len(b.Lanes))*weight[b.Worker])
		})
		for _, m := range members {
			if len(slowest.Lanes) > 1 && float64(len(m.Lanes)+1)*weight[m.Worker] < float64(len(slowest.Lanes))*weight[slowest.Worker] {
				t.Fatalf("seed %d: %s could take a lane from %s in %+v with %+v", seed, m.Worker, slowest.Worker, members, paces)
			}
		}
		if cluster.Uneven(members, paces) {
			t.Fatalf("seed %d: a plan by pace is uneven", seed)
		}
	}
}

func carrier(members []cluster.Member, lane int) string {
	for _, m := range members {
		if slices.Contains(m.Lanes, lane) {
			return m.Worker
		}
	}
	return ""
}

// mostKept tries all ways to give the larger shares away.
func mostKept(lanes int, workers []string, previous []cluster.Member) (best int) {
	for larger := range 1 << len(workers) {
		total, kept := 0, 0
		for i, w := range workers {
			share := lanes/len(workers) + larger>>i&1
			total += share
			for _, m := range previous {
				if m.Worker == w {
					kept += min(share, len(m.Lanes))
				}
			}
		}
		if total == lanes {
			best = max(best, kept)
		}
	}
	return best
}
