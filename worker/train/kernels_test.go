package train_test

import (
	"testing"

	"pupil/internal/kernel"
	"pupil/worker/optim"
)

// The promise holds with every implementation of the kernels: any plan of lanes and any number of threads give the same
// bits, and so do implementations of the same class. Two classes may give different ones.
func TestPlanDoesNotMatterInAnyKernel(t *testing.T) {
	best := kernel.Name()
	t.Cleanup(func() {
		if err := kernel.Select(best); err != nil {
			t.Error(err)
		}
	})
	digests := map[string]string{}
	for _, name := range []string{"generic", "avx2", "avx512"} {
		if err := kernel.Select(name); err != nil {
			t.Logf("%s is not tested: %v", name, err)
			continue
		}
		w := newWorld(t, 3)
		w.terms = pooledTerms()
		w.addPooled(t, "mobilenet_v2_cifar", 0.25)
		w.optimizer = optim.Config{Name: "adamw", WeightDecay: 0.01, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
		want := digests[kernel.Class()]
		for threads, plan := range map[int][][]int{1: {{0, 1, 2}}, 2: {{2, 0}, {1}}, 3: {{1}, {2, 0}}} {
			states, _ := w.cluster(t, plan, threads, 0, nil)
			for rank, s := range states {
				d := digest(t, s)
				if want == "" {
					want = d
				}
				if d != want {
					t.Errorf("%s: plan %v, %d threads, rank %d: weights %.16s, want %.16s", kernel.Name(), plan, threads, rank, d, want)
				}
			}
		}
		digests[kernel.Class()] = want
	}
}
