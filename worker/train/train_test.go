package train_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/internal/random"
	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/feed"
	"pupil/worker/optim"
	"pupil/worker/train"
)

// Any plan of lanes, any number of threads: the same bits in the weights, running statistics, m and d.
func TestPlanAndThreadsDoNotMatter(t *testing.T) {
	w := newWorld(t, 5)
	for name, terms := range map[string][]loss.Config{
		"conditional": w.terms,
		"mixture":     {mixture()},
		"supervised":  {loss.DefaultConfig(loss.CrossEntropy)},
		"pooled":      pooledTerms(),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5)
			w.terms = terms
			if name == "pooled" {
				w.addPooled(t, "mobilenet_v2_cifar", 0.25)
			}
			w.optimizer = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
			want := ""
			for _, c := range []struct {
				plan    [][]int
				threads int
			}{
				{[][]int{{0, 1, 2}}, 1},
				{[][]int{{0, 1, 2}}, 3},
				{[][]int{{2, 0}, {1}}, 2},
				{[][]int{{1}, {2}, {0}}, 1},
				{[][]int{{1}, {2}, {0}}, 3}, // the teacher of one lane has three threads
				{[][]int{{}, {0, 1, 2}, {}, {}}, 2},
			} {
				states, _ := w.cluster(t, c.plan, c.threads, 0, nil)
				for rank, s := range states {
					d := digest(t, s)
					if want == "" {
						want = d
					}
					if d != want {
						t.Errorf("plan %v, %d threads, rank %d: weights %.16s, want %.16s", c.plan, c.threads, rank, d, want)
					}
				}
			}
			w.seed++
			if states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil); digest(t, states[0]) == want {
				t.Error("another seed gave the same weights")
			}
		})
	}
}

func mixture() loss.Config {
	c := loss.DefaultConfig(loss.PriorMutualInformation)
	c.Posterior, c.Joint = loss.PosteriorMixture, loss.JointSymmetric
	return c
}

// pooledTerms look at two heads: standardised pooled features in permuted groups, and logits.
func pooledTerms() []loss.Config {
	mutual, kl, l2 := loss.DefaultConfig(loss.PriorMutualInformation), loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.L2)
	mutual.Head, mutual.Standardize, mutual.FeatureGroups, mutual.FeatureOrder = 1, true, 8, loss.OrderPermuted
	l2.Head, l2.Standardize = 1, true
	return []loss.Config{mutual, kl, l2}
}

// Stopped after any step, restored and carried on by other workers: the same bits.
func TestResume(t *testing.T) {
	w := newWorld(t, 5)
	w.batches = 1000 // the student was trained before
	w.terms = pooledTerms()
	w.addPooled(t, "mobilenet_v2_cifar", 0.25)
	w.average, w.clip = optim.AverageConfig{Decay: 0.9, Warmup: true}, 1
	w.optimizer = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)
	want := digest(t, states[0])
	for stop := 1; stop < w.steps; stop++ {
		stopped, saved := w.cluster(t, [][]int{{0}, {1, 2}}, 2, stop, nil)
		if saved.last == nil || saved.last.Step != stop || stopped[0].Step != stop {
			t.Fatalf("stopped after step %d: the state is at %d, the checkpoint is %+v", stop, stopped[0].Step, saved.last)
		}
		resumed, _ := w.cluster(t, [][]int{{2}, {1}, {0}}, 1, 0, saved.last)
		if d := digest(t, resumed[2]); d != want {
			t.Errorf("stopped after step %d and resumed: weights %.16s, want %.16s", stop, d, want)
		}
	}
}

// The finished student is the average over the steps, and a bound on the gradient's norm is felt.
func TestAverageAndClip(t *testing.T) {
	run := func(change func(w *world)) *train.State {
		w := newWorld(t, 4)
		change(w)
		states, _ := w.cluster(t, [][]int{{0, 1}, {2}}, 1, 0, nil)
		return states[0]
	}
	plain := run(func(*world) {})
	average := run(func(w *world) { w.average.Decay = 0.9 })
	if !slices.Equal(plain.Model.Params, average.Model.Params) {
		t.Error("the average changes what is trained")
	}
	if slices.Equal(average.Student().Params, average.Model.Params) || digest(t, plain) == digest(t, average) {
		t.Error("the student is not the average")
	}
	// The average is that of the weights after each step: replayed from the states that stop after each.
	w := newWorld(t, 4)
	start := w.state(t)
	want, err := optim.NewAverage(optim.AverageConfig{Decay: 0.9}, start.Model.Params, start.Model.Buffers)
	if err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop < w.steps; stop++ {
		states, _ := newWorld(t, 4).cluster(t, [][]int{{0, 1, 2}}, 1, stop, nil)
		want.Update(states[0].Model.Params, states[0].Model.Buffers, stop-1)
	}
	want.Update(plain.Model.Params, plain.Model.Buffers, w.steps-1)
	if !slices.Equal(average.Student().Params, want.Params()) || !slices.Equal(average.Student().Buffers, want.Statistics()) {
		t.Error("the student is not the average of the weights after each step")
	}
	if clipped := run(func(w *world) { w.clip = 1e-3 }); slices.Equal(clipped.Model.Params, plain.Model.Params) {
		t.Error("the bound on the gradient's norm changes nothing")
	}
	if loose := run(func(w *world) { w.clip = 1e9 }); digest(t, loose) != digest(t, plain) {
		t.Error("a bound that is not reached changes the weights")
	}
}

func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, 2)
	w.terms = pooledTerms()
	w.addPooled(t, "mobilenet_v2_cifar", 0.25)
	good, err := w.state(t).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{train.PartStudent, train.PartOptimizer, train.PartPrior, train.PartMoments} {
		bad := train.Snapshot{Step: good.Step, Meta: good.Meta, Parts: map[string]*safetensors.File{}}
		for name, f := range good.Parts {
			if name != part {
				bad.Parts[name] = f
			}
		}
		if err := w.state(t).Restore(bad); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("without part %s: %v", part, err)
		}
	}
	other := good
	other.Step = 7
	if err := w.state(t).Restore(other); err == nil {
		t.Error("a snapshot whose step is not that of its state was restored")
	}
}

// A lane's error ends the step on all lanes, and is what Run returns.
func TestLaneError(t *testing.T) {
	broken := errors.New("a broken image")
	for name, c := range map[string]struct {
		spoil func(b *feed.Batch) error
		want  error
		where string
	}{
		"source": {func(b *feed.Batch) error {
			if b.Step == 1 && b.Lane == 2 {
				return broken
			}
			return nil
		}, broken, "step 2"},
		"features": {func(b *feed.Batch) error {
			if b.Step == 1 && b.Lane == 1 {
				b.Student[3] = float32(math.NaN())
			}
			return nil
		}, loss.ErrNonFinite, "step 2: lane 1: image 1-0.png: sample 0 of this lane: the student's feature"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			rings, stop := connect(ctx, t, 1)
			defer stop()
			config := w.config(t, 1, &control{})
			config.Source.(*source).spoil = c.spoil
			state := w.state(t)
			config.Threads = 3
			trainer, err := train.New(config, state)
			if err != nil {
				t.Fatal(err)
			}
			defer trainer.Close()
			_, err = trainer.Run(ctx, alone(rings[0]))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.where) {
				t.Errorf("Run returned %v; want %v with %q", err, c.want, c.where)
			}
			if state.Step != 1 {
				t.Errorf("the state is after step %d, want 1", state.Step)
			}
		})
	}
}

// The context's end ends a run that waits.
func TestCancelled(t *testing.T) {
	w := newWorld(t, 3)
	ctx, cancel := context.WithCancelCause(t.Context())
	rings, stop := connect(t.Context(), t, 1)
	defer stop()
	config := w.config(t, 1, &control{})
	config.Source.(*source).spoil = func(b *feed.Batch) error {
		if b.Lane == 2 {
			cancel(fs.ErrClosed)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	trainer, err := train.New(config, w.state(t))
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	if _, err := trainer.Run(ctx, alone(rings[0])); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Run returned %v; want the context's cause", err)
	}
}

// A learning rate that throws the weights out of range ends the job before they are saved.
func TestOverflow(t *testing.T) {
	w := newWorld(t, 3)
	w.schedule = optim.Schedule{Name: "constant", Peak: 1e39, Steps: 3}
	rings, stop := connect(t.Context(), t, 1)
	defer stop()
	saved := &memory{}
	config := w.config(t, 1, &control{})
	config.CheckpointStep = 1
	part := alone(rings[0])
	part.Saver = saved
	trainer, err := train.New(config, w.state(t))
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	if _, err := trainer.Run(t.Context(), part); err == nil || !strings.Contains(err.Error(), "learning_rate") {
		t.Errorf("Run returned %v", err)
	}
	if saved.last != nil {
		for name, f := range saved.last.Parts {
			for _, x := range f.Tensors {
				values, err := x.Float64()
				if err != nil {
					continue // a counter
				}
				for _, v := range values {
					if math.IsNaN(v) || math.IsInf(v, 0) {
						t.Fatalf("%v is in the checkpoint's part %s", v, name)
					}
				}
			}
		}
	}
}

// A student that uses one class is stopped after the patience is used up.
func TestCollapse(t *testing.T) {
	w := newWorld(t, 10)
	w.schedule.Peak = 1e-9
	state := w.state(t)
	r := random.New(random.PurposeTest, 5)
	for i, p := range w.student.Params() {
		if i == len(w.student.Params())-1 { // the classifier's bias says class 0
			bias := state.Model.Params[p.Offset:][:p.Len]
			for k := range bias {
				bias[k] = float32(-1000 - r.Float64())
			}
			bias[0] = 1000
		}
	}
	rings, stop := connect(t.Context(), t, 1)
	defer stop()
	config := w.config(t, 1, &control{})
	config.Collapse = train.Collapse{UsedClasses: 1, Patience: 3}
	trainer, err := train.New(config, state)
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	_, err = trainer.Run(t.Context(), alone(rings[0]))
	if !errors.Is(err, train.ErrCollapsed) || state.Step != 3 {
		t.Errorf("after step %d: %v; want ErrCollapsed after step 3", state.Step, err)
	}
}
