package optim_test

import (
	"hash/fnv"
	"math"
	"slices"
	"testing"

	"pupil/internal/random"
	"pupil/worker/optim"
)

// trained is what a job with one optimiser, clipping, an average and a schedule keeps.
type trained struct {
	config     optim.Config
	schedule   optim.Schedule
	optimizer  optim.Optimizer
	average    *optim.Average
	params     []float32
	statistics []float32
}

const (
	trainedSize  = 90
	trainedSteps = 24
)

func trainedGroups() []optim.Group {
	return []optim.Group{
		{Len: 50, Decay: true}, {Offset: 50, Len: 5}, {Offset: 55, Len: 5}, {Offset: 60, Len: 30, Decay: true},
	}
}

// jobs are one for each optimiser, each with another schedule.
func jobs() map[string]trained {
	schedule := optim.Schedule{Peak: 0.05, Warmup: 0.125, Steps: trainedSteps}
	with := func(change func(s *optim.Schedule)) optim.Schedule {
		s := schedule
		change(&s)
		return s
	}
	return map[string]trained{
		"adamw": {
			config:   optim.Config{Name: optim.AdamW, WeightDecay: 0.05, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8},
			schedule: with(func(s *optim.Schedule) { s.Name, s.Final = optim.ScheduleCosine, 0.01 }),
		},
		"sgd": {
			config: optim.Config{Name: optim.SGD, WeightDecay: 0.01, Momentum: 0.9, Nesterov: true},
			schedule: with(func(s *optim.Schedule) {
				s.Name, s.Milestones, s.Gamma = optim.ScheduleStep, []float64{0.4, 0.7}, 0.3
			}),
		},
		"lars": {
			config: optim.Config{Name: optim.LARS, WeightDecay: 0.01, Momentum: 0.9, TrustCoefficient: 0.02},
			schedule: with(func(s *optim.Schedule) {
				s.Name, s.PctStart, s.DivFactor, s.FinalDivFactor = optim.ScheduleOneCycle, 0.3, 25, 1e4
			}),
		},
	}
}

// start fills in what the first step begins with.
func (j trained) start(t *testing.T) trained {
	t.Helper()
	r := random.New(random.PurposeTest, 21)
	j.params, j.statistics = make([]float32, trainedSize), make([]float32, 4)
	for i := range j.params {
		j.params[i] = float32(r.Normal())
	}
	var err error
	if j.optimizer, err = optim.New(j.config, trainedSize, trainedGroups()); err != nil {
		t.Fatal(err)
	}
	j.average, err = optim.NewAverage(optim.AverageConfig{Decay: 0.99, Warmup: true}, j.params, j.statistics)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// step makes a step with gradients, which it changes.
func (j trained) step(gradients []float32, step int) {
	optim.ClipNorm(gradients, 8)
	j.optimizer.Step(j.params, gradients, step, j.schedule.Rate(step))
	for i := range j.statistics {
		j.statistics[i] += gradients[i]
	}
	j.average.Update(j.params, j.statistics, step)
}

// moments are the state of optimiser and average.
func (j trained) moments() []optim.Moment {
	return append(j.optimizer.Moments(), j.average.Moments()...)
}

// hash is a digest of every bit that the next step depends on.
func (j trained) hash() uint64 {
	h := fnv.New64a()
	add := func(values []float32) {
		for _, v := range values {
			b := math.Float32bits(v)
			h.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
		}
	}
	add(j.params)
	add(j.statistics)
	for _, m := range j.moments() {
		add(m.Values)
	}
	return h.Sum64()
}

// laneGradients are what one of eight lanes contributes to a step.
func laneGradients(lane, step int) []float32 {
	r := random.New(random.PurposeTest, uint64(1000+step*8+lane))
	g := make([]float32, trainedSize)
	for i := range g {
		g[i] = float32(0.3 * r.Normal())
	}
	return g
}

// summed adds the lanes' gradients in fixed point, as the ring does, in the given order.
func summed(order []int, step int) []float32 {
	sum := make([]int32, trainedSize)
	for _, l := range order {
		for i, v := range laneGradients(l, step) {
			sum[i] += int32(math.RoundToEven(float64(v) * 0x1p24))
		}
	}
	g := make([]float32, trainedSize)
	for i, v := range sum {
		g[i] = float32(float64(v) * 0x1p-24)
	}
	return g
}

// The bits of whole jobs, so that an architecture that rounds otherwise, or fuses a product and a sum, is seen.
func TestGoldenBits(t *testing.T) {
	want := map[string]uint64{"adamw": 0xf7280a99332cb631, "sgd": 0x367b65d5e900e69c, "lars": 0x9a69d364b13be1b1}
	for name, j := range jobs() {
		j = j.start(t)
		for step := range trainedSteps {
			j.step(summed([]int{0, 1, 2, 3, 4, 5, 6, 7}, step), step)
		}
		if got := j.hash(); got != want[name] {
			t.Errorf("%s: the hash of the state is %#x, want %#x", name, got, want[name])
		}
	}
}

// TestGoldenRates holds the bits of schedules of many lengths.
func TestGoldenRates(t *testing.T) {
	const want = 0x3a7814794e2b2169
	var hash uint64
	for name, j := range jobs() {
		s := j.schedule
		var h uint64
		for s.Steps = 1; s.Steps < 300; s.Steps += 7 {
			for step := range s.Steps {
				h = (h ^ math.Float64bits(s.Rate(step))) * 0x9e3779b97f4a7c15
				h ^= h >> 29
			}
		}
		if h == 0 {
			t.Errorf("%s: no rates", name)
		}
		hash ^= h
	}
	if hash != want {
		t.Errorf("the hash of the rates is %#x, want %#x", hash, uint64(want))
	}
}

func TestOrderOfLanesDoesNotMatter(t *testing.T) {
	for name, j := range jobs() {
		var want uint64
		for i, order := range [][]int{{0, 1, 2, 3, 4, 5, 6, 7}, {7, 6, 5, 4, 3, 2, 1, 0}, {3, 0, 7, 1, 6, 2, 5, 4}} {
			run := j.start(t)
			for step := range trainedSteps {
				run.step(summed(order, step), step)
			}
			if got := run.hash(); i == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s: lanes in the order %v give another state", name, order)
			}
		}
	}
}

// TestResume: the moments and the parameters are all that the next step depends on.
func TestResume(t *testing.T) {
	order := []int{0, 1, 2, 3, 4, 5, 6, 7}
	for name, j := range jobs() {
		whole, first, second := j.start(t), j.start(t), j.start(t)
		for step := range trainedSteps {
			whole.step(summed(order, step), step)
			if step == trainedSteps/2 {
				copy(second.params, first.params)
				copy(second.statistics, first.statistics)
				names := map[string]bool{}
				for i, m := range first.moments() {
					to := second.moments()[i]
					if to.Name != m.Name || names[m.Name] || len(to.Values) != len(m.Values) {
						t.Fatalf("%s: moment %d is %s, then %s, of %d and %d", name, i, m.Name, to.Name, len(m.Values), len(to.Values))
					}
					names[m.Name] = true
					copy(to.Values, m.Values)
				}
				for i := range first.params { // what the second still shared with the first would show
					first.params[i] = -1
				}
			}
			if step < trainedSteps/2 {
				first.step(summed(order, step), step)
			} else {
				second.step(summed(order, step), step)
			}
		}
		if second.hash() != whole.hash() || !slices.Equal(second.params, whole.params) {
			t.Errorf("%s: resumed and uninterrupted jobs differ", name)
		}
	}
}
