package train_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pupil/allreduce"
	"pupil/allreduce/memlink"
	"pupil/internal/random"
	"pupil/loss"
	"pupil/storage/dataset"
	"pupil/worker/feed"
	"pupil/worker/nn"
	"pupil/worker/optim"
	"pupil/worker/train"
)

const (
	classes = 5
	size    = 16 // pixels
	images  = 12 // of a step
	lanes   = 3
	lane    = images / lanes
)

// world is a small job: random images, a random teacher, a random student.
type world struct {
	student, teacher *nn.Network
	teacherState     *nn.State
	terms            []loss.Config
	heads            []train.Head
	seed             uint64
	steps            int
	optimizer        optim.Config
	schedule         optim.Schedule
	batches          int64               // that the student has seen before
	average          optim.AverageConfig // with decay 0, none
	clip             float64
	wire             allreduce.Format
	bucket           int // bytes; 0: by the number of gradients
	trace            func(step int) train.Trace
}

func newWorld(t testing.TB, steps int) *world {
	t.Helper()
	w := &world{seed: 1, steps: steps, optimizer: optim.Config{Name: "sgd", Momentum: 0.5, WeightDecay: 0.01}}
	w.schedule = optim.Schedule{Name: "cosine", Peak: 0.05, Warmup: 0.2, Final: 0.1, Steps: steps}
	w.student = network(t, "mobilenet_v2_cifar", 0.25)
	w.teacher = network(t, "resnet10_cifar", 0.125)
	w.teacherState = w.teacher.NewState()
	w.teacher.Init(w.teacherState, 99)
	w.terms = []loss.Config{loss.DefaultConfig(loss.PriorMutualInformation)}
	w.heads = []train.Head{{Teacher: nn.Logits, Student: nn.Logits}}
	return w
}

func network(t testing.TB, name string, width float64) *nn.Network {
	t.Helper()
	n, err := nn.New(nn.Config{Architecture: name, Width: width, Outputs: classes, Size: size, Channels: 1})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// state is the one before the first step.
func (w *world) state(t testing.TB) *train.State {
	t.Helper()
	s := &train.State{Network: w.student, Model: w.student.NewState()}
	w.student.Init(s.Model, w.seed)
	s.Model.Batches = w.batches
	var err error
	if s.Loss, err = w.loss(t).NewState(); err != nil {
		t.Fatal(err)
	}
	if s.Optimizer, err = optim.New(w.optimizer, len(s.Model.Params), w.groups()); err != nil {
		t.Fatal(err)
	}
	if w.average.Decay > 0 {
		if s.Average, err = optim.NewAverage(w.average, s.Model.Params, s.Model.Buffers); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetWire(w.wire, lanes); err != nil {
		t.Fatal(err)
	}
	return s
}

// addPooled gives the student a projection to the teacher's pooled features, and the loss a second head.
func (w *world) addPooled(t testing.TB, student string, width float64) {
	t.Helper()
	c := nn.Config{
		Architecture: student, Width: width, Outputs: classes, Projection: w.teacher.Features(), Size: size, Channels: 1,
	}
	var err error
	if w.student, err = nn.New(c); err != nil {
		t.Fatal(err)
	}
	w.heads = append(w.heads, train.Head{Teacher: nn.Pooled, Student: nn.Projection})
}

// lossHeads are the widths of the heads.
func (w *world) lossHeads() (heads []loss.Head) {
	for _, h := range w.heads {
		heads = append(heads, loss.Head{Teacher: w.teacher.Width(h.Teacher), Student: w.student.Width(h.Student)})
	}
	return heads
}

func (w *world) loss(t testing.TB) *loss.Loss {
	t.Helper()
	l, err := loss.New(w.terms, w.lossHeads(), images, w.seed)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) groups() (groups []optim.Group) {
	for _, p := range w.student.Params() {
		groups = append(groups, optim.Group{Offset: p.Offset, Len: p.Len, Decay: p.Kind == nn.Weight})
	}
	return groups
}

// batch is a lane's part of a step: a function of both.
func (w *world) batch(step, lane_ int) *feed.Batch {
	const pixels = size * size
	r := random.New(random.PurposeTest, w.seed, uint64(step), uint64(lane_))
	b := &feed.Batch{
		Step: step, Lane: lane_, Labels: make([]int, lane),
		Student: make([]float32, lane*pixels), Teacher: make([]float32, lane*pixels),
	}
	for i := range b.Student {
		b.Teacher[i] = float32(r.Normal())
		b.Student[i] = b.Teacher[i] + 0.1*float32(r.Normal())
	}
	for i := range b.Labels {
		b.Labels[i] = r.IntN(classes)
		b.Samples = append(b.Samples, dataset.Sample{Name: fmt.Sprintf("%d-%d.png", lane_, i)})
	}
	return b
}

// source hands out the world's batches.
type source struct {
	world *world
	spoil func(b *feed.Batch) error
}

func (s *source) Carry([]int) error { return nil }

func (s *source) Next(_ context.Context, lane, step int) (*feed.Batch, error) {
	b := s.world.batch(step, lane)
	if s.spoil != nil {
		if err := s.spoil(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// control counts steps and asks to stop after one of them.
type control struct {
	stopAfter int
	mu        sync.Mutex
	progress  []train.Progress
}

func (c *control) Requested() train.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopAfter > 0 && len(c.progress)+1 >= c.stopAfter {
		return train.Stop
	}
	return train.GoOn
}

func (c *control) Began(int, train.Origin) {}

func (c *control) Committed(p train.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = append(c.progress, p)
}

// memory keeps the newest checkpoint.
type memory struct{ last *train.Snapshot }

func (m *memory) Save(_ context.Context, s train.Snapshot) error {
	m.last = &s
	return nil
}

func (w *world) config(t testing.TB, threads int, c train.Control) train.Config {
	t.Helper()
	teacher, err := w.teacher.Freeze(w.teacherState, nn.FreezeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return train.Config{
		Batch: images, Lanes: lanes, Threads: threads, Steps: w.steps,
		Epoch: func(int) int { return 0 }, Student: w.student,
		Teacher: teacher, Loss: w.loss(t), Heads: w.heads, Schedule: w.schedule, ClipNorm: w.clip,
		BucketBytes: w.bucket,
		Source:      &source{world: w}, Control: c, Trace: w.trace,
	}
}

// cluster trains with workers that carry the given lanes, connected in memory, and returns the workers' states. With
// stopAfter the last rank asks to stop after that step.
func (w *world) cluster(t testing.TB, plan [][]int, threads, stopAfter int, from *train.Snapshot) ([]*train.State, *memory) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rings, stopRings := connect(ctx, t, len(plan))
	defer stopRings()
	states := make([]*train.State, len(plan))
	saved := &memory{}
	want := train.Finished
	if stopAfter > 0 {
		want = train.Stopped
	}
	var workers sync.WaitGroup
	for rank, carried := range plan {
		states[rank] = w.state(t)
		if from != nil {
			if err := states[rank].Restore(*from); err != nil {
				t.Fatal(err)
			}
		}
		stop := &control{}
		if rank == len(plan)-1 {
			stop.stopAfter = stopAfter
		}
		part := train.Part{Carried: carried, Rank: rank, Size: len(plan), Reducer: rings[rank], Saved: -1}
		if rank == 0 {
			part.Saver = saved
		}
		trainer, err := train.New(w.config(t, threads, stop), states[rank])
		if err != nil {
			t.Fatal(err)
		}
		defer trainer.Close()
		workers.Go(func() {
			outcome, err := trainer.Run(ctx, part)
			if err != nil || outcome != want {
				t.Errorf("rank %d: outcome %v, error %v; want outcome %v", rank, outcome, err, want)
				cancel()
			}
		})
	}
	workers.Wait()
	return states, saved
}

// connect starts rings of n ranks in memory.
func connect(ctx context.Context, t testing.TB, n int) (rings []*allreduce.Ring, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for rank, link := range memlink.New(n) {
		var l allreduce.Link
		if n > 1 {
			l = link
		}
		ring, err := allreduce.New(l, allreduce.Config{Job: "test", Generation: 1, Rank: rank, Size: n})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = ring.Run(ctx) }) // a failure shows in the calls
		rings = append(rings, ring)
	}
	return rings, func() {
		cancel()
		running.Wait()
	}
}

func digest(t testing.TB, s *train.State) string {
	t.Helper()
	d, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// alone is the part of a worker without others.
func alone(r train.Reducer) train.Part {
	return train.Part{Carried: []int{0, 1, 2}, Size: 1, Reducer: r, Saved: -1}
}
