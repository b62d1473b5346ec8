package train_test

import (
	"math"
	"slices"
	"testing"

	"pupil/loss"
	"pupil/loss/plain"
	"pupil/worker/nn"
	"pupil/worker/optim"
	"pupil/worker/train"
)

// reference trains without lanes, ring or fixed point: one loop over the groups of images that share batch statistics, the
// plain loss of the whole batch, gradients summed in float64.
func reference(t *testing.T, w *world) *train.State {
	t.Helper()
	s := w.state(t)
	teacher, err := w.teacher.NewInference(w.teacherState, lane)
	if err != nil {
		t.Fatal(err)
	}
	gradients := make([]float32, len(s.Model.Params))
	statistics := make([]float32, len(s.Model.Buffers))
	job := plain.Job{Terms: w.terms, Heads: w.lossHeads(), Seed: w.seed}
	var outputs []nn.Output
	for _, h := range w.heads {
		outputs = append(outputs, h.Student)
	}
	var features, wanted [][]float32 // by head; wanted nil: none
	student, err := w.student.NewTraining(s.Model, nn.TrainingConfig{
		Batch: lane, Outputs: outputs, Gradients: gradients, Statistics: statistics,
		Loss: func(f, g [][]float32) (float64, error) {
			features = nil
			for i := range f {
				features = append(features, slices.Clone(f[i]))
				clear(g[i])
				if wanted != nil {
					copy(g[i], wanted[i])
				}
			}
			return 0, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer student.Close()
	pass := func(images []float32) {
		if err := student.Run(images); err != nil {
			t.Fatal(err)
		}
	}
	for step := range w.steps {
		all := loss.Batch{Heads: make([]loss.Pair, len(w.heads))}
		for group := range lanes {
			b := w.batch(step, group)
			pooled, logits, err := teacher.Run(b.Teacher)
			if err != nil {
				t.Fatal(err)
			}
			wanted = nil
			pass(b.Student)
			for i, h := range w.heads {
				p := &all.Heads[i]
				if h.Teacher == nn.Pooled {
					p.Teacher = append(p.Teacher, wide(pooled)...)
				} else {
					p.Teacher = append(p.Teacher, wide(logits)...)
				}
				p.Student = append(p.Student, wide(features[i])...)
			}
			all.Labels = append(all.Labels, b.Labels...)
		}
		r, err := plain.Evaluate(job, all, s.Loss, float64(step)/float64(w.steps))
		if err != nil {
			t.Fatal(err)
		}
		sum := make([]float64, len(gradients))
		mean := make([]float64, len(statistics))
		for group := range lanes {
			wanted = nil
			for _, g := range r.Gradients {
				size := len(g) / lanes
				wanted = append(wanted, narrow(g[group*size:][:size]))
			}
			pass(w.batch(step, group).Student)
			for i, g := range gradients {
				sum[i] += float64(g)
			}
			for i, x := range statistics {
				mean[i] += float64(x) / lanes
			}
		}
		s.Optimizer.Step(s.Model.Params, narrow(sum), step, w.schedule.Rate(step))
		w.student.UpdateRunning(s.Model.Buffers, narrow(mean))
		s.Loss = r.State
	}
	return s
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// One worker with all lanes against the reference: equal to the precision of the fixed point.
//
// A lane's gradient is rounded to a multiple of 2^e, where 2^e <= 2 * 256 / Limit before the first step (allreduce.Scaler)
// and 2^9 M / Limit after it, M being the largest gradient of the tensor; with 3 lanes Limit is 7e8, so that with M of
// about 1 a unit is at most 7e-7, and the sum of 3 lanes is off by 1.1e-6 at most. With learning rate 0.02 and momentum 0.5
// (which doubles it), 4 steps move a weight by at most 4 * 0.02 * 2 * 1.1e-6 = 1.8e-7. An error also passes through the
// gradients of the steps that follow, and weights are rounded to float32 (6e-8 each time): 5 times the direct effect covers
// that in a network as well conditioned as a ResNet. Running statistics are rounded alike, and follow the weights. The
// prior is computed in float64 from features that carry the weights' error.
func TestAgainstPlainTrainer(t *testing.T) {
	const tolerance = 1e-6
	for name, terms := range map[string][]loss.Config{
		"prior mutual information": {loss.DefaultConfig(loss.PriorMutualInformation)},
		"mixture":                  {mixture()},
		"kl and cross-entropy":     {loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.CrossEntropy)},
		"pooled features":          pooledTerms(),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4)
			w.schedule.Peak = 0.02
			w.optimizer = optim.Config{Name: "sgd", Momentum: 0.5, WeightDecay: 0.01}
			w.terms = terms
			w.student = network(t, "resnet10_cifar", 0.125)
			if name == "pooled features" {
				w.addPooled(t, "resnet10_cifar", 0.125)
			}
			want := reference(t, w)
			states, _ := w.cluster(t, [][]int{{0, 1, 2}}, 1, 0, nil)
			got := states[0]
			compare(t, "weights", got.Model.Params, want.Model.Params, tolerance)
			compare(t, "running statistics", got.Model.Buffers, want.Model.Buffers, tolerance)
			for i, p := range want.Loss.Priors {
				compare(t, "m", narrow(got.Loss.Priors[i].M), narrow(p.M), tolerance)
				compare(t, "d", narrow(got.Loss.Priors[i].D), narrow(p.D), tolerance)
			}
			start := w.state(t)
			moved := 0.0
			for i, p := range got.Model.Params {
				moved = max(moved, math.Abs(float64(p-start.Model.Params[i])))
			}
			if moved < 1000*tolerance {
				t.Errorf("the weights moved by %.2g only; the comparison says nothing", moved)
			}
		})
	}
}

func compare(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	worst, at := 0.0, 0
	for i := range want {
		if d := math.Abs(float64(got[i])-float64(want[i])) / (1 + math.Abs(float64(want[i]))); d > worst {
			worst, at = d, i
		}
	}
	t.Logf("%s: largest difference %.2g", what, worst)
	if worst > tolerance {
		t.Errorf("%s: element %d is %v, want %v to %.0e", what, at, got[at], want[at], tolerance)
	}
}
