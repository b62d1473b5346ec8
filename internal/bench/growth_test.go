package main

import (
	"runtime"
	"testing"

	"pupil/worker/nn"
)

// micro is a pair whose step takes about a millisecond.
var micro = pair{
	name:    "micro",
	teacher: nn.Config{Architecture: "resnet10_cifar", Width: 0.125, Outputs: 4, Size: 8, Channels: 1},
	student: nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.125, Outputs: 4, Size: 8, Channels: 1},
	batch:   4,
}

// Thousands of whole steps of the training loop (teacher, student, loss, sums, update) on two lanes leave neither memory nor goroutines
// behind.
func TestStepsDoNotGrow(t *testing.T) {
	m, err := newModels(micro, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOurStep(m, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	steps := func(n int) (memory runtime.MemStats) {
		for range n / 500 {
			if err := o.run(t.Context(), 500); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 { // objects with finalizers take two
			runtime.GC()
		}
		runtime.ReadMemStats(&memory)
		return memory
	}
	first := steps(500)
	goroutines := runtime.NumGoroutine()
	last := steps(2_500)
	// What the runtime and the testing package keep varies by a few objects; one a step would be 2,500.
	if last.HeapAlloc > first.HeapAlloc+64<<10 || last.HeapObjects > first.HeapObjects+1_000 {
		t.Errorf("the heap grew from %d bytes in %d objects to %d in %d", first.HeapAlloc, first.HeapObjects, last.HeapAlloc, last.HeapObjects)
	}
	for range 1_000 { // a goroutine of the last step may be about to end
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("there are %d goroutines, after 500 steps there were %d", n, goroutines)
	}
	t.Logf("%d bytes in %d objects, then %d in %d", first.HeapAlloc, first.HeapObjects, last.HeapAlloc, last.HeapObjects)
}
