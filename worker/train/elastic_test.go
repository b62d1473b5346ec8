package train_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pupil/allreduce"
	"pupil/allreduce/memlink"
	"pupil/internal/random"
	"pupil/worker/feed"
	"pupil/worker/optim"
	"pupil/worker/train"
)

// phase is a place in a step where a worker can die.
type phase string

const (
	beforeForward phase = "before forward"
	inJoint       phase = "in joint"
	inBucket      phase = "in bucket"
	inVotes       phase = "in votes"
	beforeCommit  phase = "before commit"
	afterCommit   phase = "after commit"
	inCheckpoint  phase = "in checkpoint"
	inMeeting     phase = "in roll call"
)

var phases = []phase{beforeForward, inJoint, inBucket, inVotes, beforeCommit, afterCommit, inCheckpoint, inMeeting}

var (
	errKilled = errors.New("killed")
	errOver   = errors.New("the generation is over")
)

// scene is a cluster whose workers die, join and leave, as a test tells.
type scene struct {
	t       *testing.T
	world   *world
	threads int
	members []*member
	born    int
	number  uint64 // of the generation

	mu      sync.Mutex
	death   death           // the next one
	abort   func(err error) // ends the generation for all
	saved   *train.Snapshot // the newest checkpoint
	origins []train.Origin
	flip    func(m *member, step int) // at a batch; may be nil
	asking  func()                    // before a worker asks for a state that it lacks; may be nil
	named   []int                     // workers that have found themselves different
	retold  int                       // micro-batches that were computed
	buckets []uint32                  // of gradients, in the order in which they were summed first
}

// death says where in which step which rank dies.
type death struct {
	phase  phase
	step   int // counted from 0
	rank   int
	bucket uint32 // inBucket: that is summed
}

// member is a worker process.
type member struct {
	scene   *scene
	id      int
	rank    int
	lanes   []int
	state   *train.State
	trainer *train.Trainer
	yield   bool
	die     context.CancelCauseFunc
}

func newScene(t *testing.T, w *world, workers, threads int) *scene {
	s := &scene{t: t, world: w, threads: threads}
	for range workers {
		s.join()
	}
	return s
}

func (s *scene) join() *member {
	m := &member{scene: s, id: s.born, state: s.world.state(s.t)}
	s.born++
	c := s.world.config(s.t, s.threads, m)
	c.Source, c.CheckpointStep, c.CompareEvery = m, 2, 1
	var err error
	if m.trainer, err = train.New(c, m.state); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = m.trainer.Close() })
	s.members = append(s.members, m)
	return m
}

// plan gives away the lanes that nobody carries; a survivor keeps its own.
func (s *scene) plan() {
	free := []int{}
	for l := range lanes {
		if !slices.ContainsFunc(s.members, func(m *member) bool { return slices.Contains(m.lanes, l) }) {
			free = append(free, l)
		}
	}
	for _, l := range free {
		least := s.members[0]
		for _, m := range s.members {
			if len(m.lanes) < len(least.lanes) {
				least = m
			}
		}
		least.lanes = append(slices.Clone(least.lanes), l)
	}
}

// generation carries the job until it is done, a worker dies or the workers yield. It returns the survivors' outcome.
func (s *scene) generation() train.Outcome {
	s.t.Helper()
	s.plan()
	s.number++
	ctx, cancel := context.WithCancelCause(s.t.Context())
	defer cancel(nil)
	s.mu.Lock()
	s.abort = cancel
	s.mu.Unlock()
	running, stop := context.WithCancel(context.Background())
	var rings, workers sync.WaitGroup
	links := memlink.New(len(s.members))
	outcomes, errs := make([]train.Outcome, len(s.members)), make([]error, len(s.members))
	s.mu.Lock() // a checkpoint of the generation before may still be written
	saved := -1
	if s.saved != nil {
		saved = s.saved.Step
	}
	for rank, m := range s.members {
		m.rank = rank
	}
	s.mu.Unlock()
	for rank, m := range s.members {
		var link allreduce.Link
		if len(s.members) > 1 {
			link = links[rank]
		}
		ring, err := allreduce.New(link, allreduce.Config{Job: "test", Generation: s.number, Rank: rank, Size: len(s.members)})
		if err != nil {
			s.t.Fatal(err)
		}
		rings.Go(func() { _ = ring.Run(running) })
		part := train.Part{
			Carried: m.lanes, Rank: rank, Size: len(s.members), Reducer: &mortal{Ring: ring, member: m}, Saved: saved, Load: s.load,
		}
		if rank == 0 {
			part.Saver = m
		}
		own, die := context.WithCancelCause(ctx)
		s.mu.Lock()
		m.die = die
		s.mu.Unlock()
		workers.Go(func() { outcomes[rank], errs[rank] = m.trainer.Run(own, part) })
	}
	workers.Wait()
	stop()
	rings.Wait()
	return s.bury(outcomes, errs)
}

// bury takes out the dead, and checks that the others have ended for no other reason.
func (s *scene) bury(outcomes []train.Outcome, errs []error) (outcome train.Outcome) {
	s.t.Helper()
	var living []*member
	for rank, m := range s.members {
		switch err := errs[rank]; {
		case errors.Is(err, errKilled):
			_ = m.trainer.Close()
			continue
		case err == nil:
			outcome = outcomes[rank]
		case errors.Is(err, train.ErrDiverged):
			s.named = append(s.named, m.id)
		case !errors.Is(err, train.ErrOtherDiverged) && !errors.Is(err, errOver) && !errors.Is(err, allreduce.ErrAborted):
			s.t.Fatalf("rank %d: %v", rank, err)
		}
		living = append(living, m)
	}
	s.members = living
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return 0
	}
	return outcome
}

func (s *scene) load(context.Context) (train.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved == nil {
		return s.world.state(s.t).Checkpoint()
	}
	return *s.saved, nil
}

// reached kills the worker if its time has come.
func (m *member) reached(p phase, step int) { m.at(death{phase: p, step: step}) }

func (m *member) reachedBucket(bucket uint32, step int) {
	m.scene.mu.Lock()
	if !slices.Contains(m.scene.buckets, bucket) {
		m.scene.buckets = append(m.scene.buckets, bucket)
	}
	m.scene.mu.Unlock()
	m.at(death{phase: inBucket, step: step, bucket: bucket})
}

// at is reached with the worker's rank, which the lanes that a generation leaves behind may read when the next has begun.
func (m *member) at(d death) {
	s := m.scene
	s.mu.Lock()
	d.rank = m.rank
	dies := s.death == d
	if dies {
		s.death = death{}
	}
	die, abort := m.die, s.abort
	s.mu.Unlock()
	if dies {
		die(errKilled)
		abort(errOver)
	}
}

func (m *member) Carry([]int) error { return nil }

func (m *member) Next(_ context.Context, lane, step int) (*feed.Batch, error) {
	m.reached(beforeForward, step)
	if f := m.scene.flip; f != nil {
		f(m, step)
	}
	m.scene.mu.Lock()
	m.scene.retold++
	m.scene.mu.Unlock()
	return m.scene.world.batch(step, lane), nil
}

func (m *member) Requested() train.Request {
	m.scene.mu.Lock()
	defer m.scene.mu.Unlock()
	if m.yield {
		m.yield = false
		return train.Yield
	}
	return train.GoOn
}

func (m *member) Began(_ int, from train.Origin) {
	m.scene.mu.Lock()
	defer m.scene.mu.Unlock()
	m.scene.origins = append(m.scene.origins, from)
}

func (m *member) Committed(train.Progress) {}

func (m *member) Save(_ context.Context, snap train.Snapshot) error {
	m.reached(inCheckpoint, snap.Step-1)
	m.scene.mu.Lock()
	defer m.scene.mu.Unlock()
	if m.scene.saved == nil || m.scene.saved.Step < snap.Step {
		m.scene.saved = &snap
	}
	return nil
}

// firstStep is the ring's of the job's step 0; those before are of the meeting.
const firstStep = 4

// mortal is a ring whose worker dies at a call.
type mortal struct {
	*allreduce.Ring
	member *member
}

func (r *mortal) ReduceInt32(ctx context.Context, step uint64, bucket uint32, v []int32) error {
	r.member.reachedBucket(bucket, int(step)-firstStep)
	return r.Ring.ReduceInt32(ctx, step, bucket, v)
}

func (r *mortal) ReduceInt16(ctx context.Context, step uint64, bucket uint32, v []int16) error {
	r.member.reachedBucket(bucket, int(step)-firstStep)
	return r.Ring.ReduceInt16(ctx, step, bucket, v)
}

func (r *mortal) ReduceInt64(ctx context.Context, step uint64, bucket uint32, v []int64) error {
	switch {
	case step < firstStep:
		r.member.reached(inMeeting, 0)
	case bucket < 1<<20:
		r.member.reached(inJoint, int(step)-firstStep)
	default:
		r.member.reached(inVotes, int(step)-firstStep)
	}
	return r.Ring.ReduceInt64(ctx, step, bucket, v)
}

func (r *mortal) Share(ctx context.Context, step uint64, bucket uint32, state []byte, most int) ([]byte, error) {
	if asking := r.member.scene.asking; asking != nil && state == nil {
		asking()
	}
	return r.Ring.Share(ctx, step, bucket, state, most)
}

func (r *mortal) Commit(ctx context.Context, step uint64) error {
	r.member.reached(beforeCommit, int(step)-firstStep)
	err := r.Ring.Commit(ctx, step)
	if err == nil {
		r.member.reached(afterCommit, int(step)-firstStep)
	}
	return err
}

func elasticWorld(t *testing.T) *world {
	w := newWorld(t, 4)
	w.terms = pooledTerms()
	w.addPooled(t, "resnet10_cifar", 0.125)
	w.average = optim.AverageConfig{Decay: 0.9}
	w.optimizer = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	return w
}

// quiet is the digest of a run without faults.
func (w *world) quiet(t *testing.T) string {
	t.Helper()
	states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)
	return digest(t, states[0])
}

// ended checks the job's end: the quiet run's weights on every worker.
func (s *scene) ended(want string) {
	s.t.Helper()
	for _, m := range s.members {
		if d := digest(s.t, m.state); d != want {
			s.t.Errorf("worker %d: weights %.16s after step %d, want %.16s", m.id, d, m.state.Step, want)
		}
	}
}

// A worker dies in each phase of a step, on each rank; the others finish with the same bits.
func TestDeathInEachPhase(t *testing.T) {
	w := elasticWorld(t)
	want := w.quiet(t)
	for i, p := range phases {
		t.Run(string(p), func(t *testing.T) {
			s := newScene(t, w, 3, 1+i%2)
			s.death = death{phase: p, step: 1, rank: i % 3}
			switch p {
			case inCheckpoint:
				s.death.rank = 0
			case inMeeting:
				s.death.step = 0
			}
			for s.generation() != train.Finished {
				if s.number > 10 {
					t.Fatal("the run does not end")
				}
			}
			if s.number != 2 || len(s.members) != 2 {
				t.Errorf("%d generations, the last with %d workers; want 2 and 2", s.number, len(s.members))
			}
			s.ended(want)
			if most := w.steps*lanes + 1; s.retold > most {
				t.Errorf("%d micro-batches were computed; want %d at most: only the dead worker's lane is computed again", s.retold, most)
			}
		})
	}
}

// A worker dies when it gives one of the step's buckets of gradients, whichever it is: the others have the sums of those before,
// and perhaps of later ones.
func TestDeathInEachBucket(t *testing.T) {
	w := elasticWorld(t)
	want := w.quiet(t)
	first := newScene(t, w, 2, 1)
	if outcome := first.generation(); outcome != train.Finished {
		t.Fatalf("without a death: %v", outcome)
	}
	if len(first.buckets) < 3 {
		t.Fatalf("the gradients go in buckets %v only", first.buckets)
	}
	for i, bucket := range first.buckets {
		t.Run(fmt.Sprint(bucket), func(t *testing.T) {
			s := newScene(t, w, 3, 1+i%2)
			s.death = death{inBucket, 1, i % 3, bucket}
			for s.generation() != train.Finished {
				if s.number > 10 {
					t.Fatal("the run does not end")
				}
			}
			if s.number != 2 || len(s.members) != 2 {
				t.Errorf("%d generations, the last with %d workers; want 2 and 2", s.number, len(s.members))
			}
			s.ended(want)
		})
	}
}

// Any sequence of deaths, joins and yields: the same bits. With sums of 16 bits too, where the error feedback of a dead
// worker's lanes is only in the newest checkpoint.
func TestAnySequence(t *testing.T) {
	w := elasticWorld(t)
	wants := map[allreduce.Format]string{}
	for _, w.wire = range []allreduce.Format{allreduce.Fixed32, allreduce.Fixed16} {
		wants[w.wire] = w.quiet(t)
	}
	for seed := range uint64(8) {
		w.wire = []allreduce.Format{allreduce.Fixed32, allreduce.Fixed16}[seed%2]
		want := wants[w.wire]
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := random.New(random.PurposeTest, seed)
			s := newScene(t, w, 1+r.IntN(3), 1+r.IntN(2))
			for {
				least := s.members[0].state.Step
				s.mu.Lock()
				s.death = death{phase: phases[r.IntN(len(phases))], step: least + r.IntN(2), rank: r.IntN(len(s.members))}
				if r.IntN(3) == 0 {
					s.members[r.IntN(len(s.members))].yield = true
				}
				s.mu.Unlock()
				outcome := s.generation()
				if outcome == train.Finished {
					break
				}
				if len(s.members) == 0 || len(s.members) < 4 && r.IntN(2) == 0 {
					s.join()
				}
				if outcome == train.Yielded && r.IntN(2) == 0 { // lanes may move at a step's boundary
					for _, m := range s.members {
						m.lanes = nil
					}
				}
				if s.number > 60 {
					t.Fatal("the run does not end")
				}
			}
			t.Logf("%d generations, %d workers, states from %q", s.number, s.born, s.origins)
			s.ended(want)
		})
	}
}

// full is a bucket that refuses the first checkpoints.
type full struct {
	memory
	refuse, saves int
}

func (f *full) Save(ctx context.Context, s train.Snapshot) error {
	f.saves++
	if f.saves <= f.refuse {
		return errors.New("no space left")
	}
	return f.memory.Save(ctx, s)
}

// A checkpoint that cannot be saved is tried again, and the training goes on meanwhile.
func TestFailingCheckpoints(t *testing.T) {
	w := newWorld(t, 6)
	rings, stop := connect(t.Context(), t, 1)
	defer stop()
	c := &control{}
	config := w.config(t, 1, c)
	config.CheckpointStep = 3
	to := &full{refuse: 1}
	part := alone(rings[0])
	part.Saver = to
	trainer, err := train.New(config, w.state(t))
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := trainer.Run(t.Context(), part)
	if err := errors.Join(err, trainer.Close()); err != nil || outcome != train.Finished {
		t.Errorf("outcome %v, error %v", outcome, err)
	}
	if to.last == nil || to.last.Step != 6 || to.saves < 2 {
		t.Errorf("%d saves; want those that are due, and the last of step 6", to.saves)
	}
	if last := c.progress[len(c.progress)-1]; last.Unsaved != 1 {
		t.Errorf("%d failures were told, want 1", last.Unsaved)
	}
}
