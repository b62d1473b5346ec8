package nn_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/worker/nn"
)

// noise is n standard normal numbers, always the same.
func noise(n int) []float32 {
	r := random.New(random.PurposeTest, uint64(n))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.Normal())
	}
	return v
}

func TestGradientsComeFromLastToFirst(t *testing.T) {
	for i, network := range references {
		for _, output := range []nn.Output{nn.Logits, nn.Pooled} {
			t.Run(fmt.Sprintf("%s/%s", network.name, output), func(t *testing.T) {
				r := loadReference(t, i)
				s := newStep(t, r.network, r.state, referenceBatch, output, meanSquare)
				want := make([]int, len(r.network.Params()))
				for i := range want {
					want[i] = len(want) - 1 - i
				}
				for range 2 {
					s.run(t, r.images)
					if !slices.Equal(s.order, want) {
						t.Fatalf("order %v", s.order)
					}
				}
				if j := slices.IndexFunc(s.gradients, func(g float32) bool { return g-g != 0 }); j >= 0 {
					t.Errorf("gradient %d is %v", j, s.gradients[j])
				}
				for _, p := range r.network.Params() {
					classifier := strings.HasPrefix(p.Name, "fc.") || strings.HasPrefix(p.Name, "classifier.")
					unused := output == nn.Pooled && classifier
					if zero := largest(s.gradients[p.Offset:][:p.Len]) == 0; zero != unused {
						t.Errorf("gradient of %s is zero: %v, want %v", p.Name, zero, unused)
					}
				}
			})
		}
	}
}

// When a gradient is announced it is final, and so are all statistics.
func TestAnnouncedGradientsAreFinal(t *testing.T) {
	r := loadReference(t, 3)
	params := r.network.Params()
	gradients, statistics := make([]float32, len(r.state.Params)), make([]float32, len(r.state.Buffers))
	var announced [][]float32
	var first []float32
	training, err := r.network.NewTraining(r.state, nn.TrainingConfig{
		Batch: referenceBatch, Outputs: []nn.Output{nn.Logits}, Loss: meanSquare,
		Gradients: gradients, Statistics: statistics,
		OnGradient: func(i int) {
			if first == nil {
				first = slices.Clone(statistics)
			}
			announced = append(announced, slices.Clone(gradients[params[i].Offset:][:params[i].Len]))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer training.Close()
	if err := training.Run(r.images); err != nil {
		t.Fatal(err)
	}
	for i, got := range announced {
		p := params[len(params)-1-i]
		if !slices.Equal(got, gradients[p.Offset:][:p.Len]) {
			t.Errorf("%s changed after it was announced", p.Name)
		}
	}
	if !slices.Equal(first, statistics) {
		t.Error("statistics changed after the first gradient was announced")
	}
}

// Lanes share a state; what one computes must not depend on what others do meanwhile.
func TestLanesRunSideBySideWithTheSameBits(t *testing.T) {
	for i, network := range references {
		t.Run(network.name, func(t *testing.T) {
			r := loadReference(t, i)
			const lanes = 3
			inputs := make([][]float32, lanes)
			alone := make([]*step, lanes)
			for l := range lanes {
				inputs[l] = slices.Clone(r.images)
				slices.Reverse(inputs[l][l*1000:])
				alone[l] = newStep(t, r.network, r.state, referenceBatch, nn.Logits, meanSquare)
				alone[l].run(t, inputs[l])
			}
			together := make([]*step, lanes)
			errs := make([]error, lanes)
			var barrier, done sync.WaitGroup
			barrier.Add(lanes) // all lanes meet in the criterion, as they do when it reduces a sum
			for l := range lanes {
				done.Go(func() {
					criterion := func(f, g [][]float32) (float64, error) {
						barrier.Done()
						barrier.Wait()
						return meanSquare(f, g)
					}
					together[l] = newStep(t, r.network, r.state, referenceBatch, nn.Logits, criterion)
					errs[l] = together[l].training.Run(inputs[l])
				})
			}
			done.Wait()
			for l := range lanes {
				if errs[l] != nil {
					t.Fatal(errs[l])
				}
				if !slices.Equal(alone[l].gradients, together[l].gradients) ||
					!slices.Equal(alone[l].statistics, together[l].statistics) {
					t.Errorf("lane %d has other bits", l)
				}
			}
		})
	}
}

func TestErrorsComeBackAsTheyAre(t *testing.T) {
	r := loadReference(t, 0)
	fail := true
	s := newStep(t, r.network, r.state, referenceBatch, nn.Logits, func(f, g [][]float32) (float64, error) {
		if fail {
			return 0, fmt.Errorf("step 7: %w", errCriterion)
		}
		return meanSquare(f, g)
	})
	err := s.training.Run(r.images)
	if !errors.Is(err, errCriterion) || err.Error() != "step 7: "+errCriterion.Error() {
		t.Errorf("got %v", err)
	}
	if len(s.order) > 0 {
		t.Error("there was a backward pass")
	}
	fail = false
	s.run(t, r.images)
	if len(s.order) != len(r.network.Params()) {
		t.Error("the run after a failed one is not whole")
	}
	if err := s.training.Run(r.images[1:]); err == nil || !strings.Contains(err.Error(), "4 images of 64x64x3") {
		t.Errorf("a short batch: got %v", err)
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	r := loadReference(t, 0)
	s := newStep(t, r.network, r.state, referenceBatch, nn.Logits, func(_, _ [][]float32) (float64, error) {
		panic("no such class")
	})
	if err := s.training.Run(r.images); err == nil || !strings.Contains(err.Error(), "no such class") {
		t.Errorf("got %v", err)
	}
}

// tiny is a network whose runs take about a millisecond.
var tiny = nn.Config{Architecture: "mobilenet_v3_small", Width: 0.125, Outputs: 2, Size: 8, Channels: 1}

// narrow is the smallest network whose runs have every kind of layer but the gate.
func narrow(t *testing.T) *nn.Network {
	t.Helper()
	n, err := nn.NewResNet(nn.ResNet{Blocks: [4]int{1, 1, 1, 1}, Planes: 1},
		nn.Config{Outputs: 2, Size: 33, Channels: 1})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// liveHeap is what is in use after a collection.
func liveHeap() (bytes, objects uint64) {
	runtime.GC()
	runtime.GC() // pools keep what they have for one cycle
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.HeapObjects
}

// 10,000 steps leave neither memory nor goroutines behind.
func TestRunsDoNotGrow(t *testing.T) {
	n := narrow(t)
	s := n.NewState()
	n.Init(s, 1)
	training, err := n.NewTraining(s, nn.TrainingConfig{
		Batch: 1, Outputs: []nn.Output{nn.Logits}, Loss: meanSquare,
		Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer training.Close()
	images := noise(33 * 33)
	runs := func(n int) {
		for range n {
			if err := training.Run(images); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs(1_000)
	bytes, objects := liveHeap()
	goroutines := runtime.NumGoroutine()
	runs(9_000)
	lastBytes, lastObjects := liveHeap()
	// What the runtime and the testing package keep varies by a few objects; one a run would be 9,000.
	if lastBytes > bytes+64<<10 || lastObjects > objects+1_000 {
		t.Errorf("the heap grew from %d bytes in %d objects to %d in %d", bytes, objects, lastBytes, lastObjects)
	}
	for range 1_000 { // a goroutine of the last run may be about to end
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		runtime.Gosched()
	}
	if last := runtime.NumGoroutine(); last > goroutines {
		t.Errorf("there are %d goroutines, after 1,000 runs there were %d", last, goroutines)
	}
	t.Logf("%d bytes in %d objects, then %d in %d", bytes, objects, lastBytes, lastObjects)
}

// gorgonia's machine makes some small objects for each operation of a run; kernels and operations make none.
func TestAllocationsOfARun(t *testing.T) {
	for _, test := range []struct {
		name                string
		network             *nn.Network
		training, inference float64
	}{
		{"resnet", narrow(t), 520, 76},
		{"mobilenet_v3", mustNew(t, tiny), 2819, 271},
	} {
		s := test.network.NewState()
		test.network.Init(s, 1)
		training, err := test.network.NewTraining(s, nn.TrainingConfig{
			Batch: 2, Outputs: []nn.Output{nn.Logits}, Loss: meanSquare,
			Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
		})
		if err != nil {
			t.Fatal(err)
		}
		inference, err := test.network.NewInference(s, 2)
		if err != nil {
			t.Fatal(err)
		}
		size := test.network.Config().Size
		images := noise(2 * size * size)
		for what, run := range map[string]struct {
			most float64
			run  func() error
		}{
			"training":  {test.training, func() error { return training.Run(images) }},
			"inference": {test.inference, func() error { _, _, err := inference.Run(images); return err }},
		} {
			got := testing.AllocsPerRun(100, func() {
				if err := run.run(); err != nil {
					t.Fatal(err)
				}
			})
			if got > run.most {
				t.Errorf("%s: %s makes %v allocations a run, more than %v", test.name, what, got, run.most)
			}
			t.Logf("%s: %s makes %v allocations a run", test.name, what, got)
		}
		training.Close()
		inference.Close()
	}
}

func TestDroppedGraphsAreCollected(t *testing.T) {
	n := mustNew(t, tiny)
	s := n.NewState()
	n.Init(s, 1)
	build := func(times int) uint64 {
		for range times {
			training, err := n.NewTraining(s, nn.TrainingConfig{
				Batch: 16, Outputs: []nn.Output{nn.Logits}, Loss: meanSquare,
				Gradients: make([]float32, len(s.Params)), Statistics: make([]float32, len(s.Buffers)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := training.Run(make([]float32, 16*8*8)); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.GC() // pools keep what they have for one cycle
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	first := build(5)
	if last := build(20); last > first+1<<20 {
		t.Errorf("the heap grew from %d to %d bytes with 20 graphs that nobody uses", first, last)
	}
}

func TestFrozenWeightsStay(t *testing.T) {
	r := loadReference(t, 2)
	inference, err := r.network.NewInference(r.state, referenceBatch)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	clear(r.state.Params)
	clear(r.state.Buffers)
	_, logits, err := inference.Run(r.images)
	if err != nil {
		t.Fatal(err)
	}
	r.check(t, "eval.logits", logits)
}
