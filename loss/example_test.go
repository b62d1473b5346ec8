package loss_test

import (
	"fmt"
	"sync"

	"pupil/loss"
)

// Two lanes of one image each evaluate the loss of the global batch of two.
func Example() {
	terms := []loss.Config{loss.DefaultConfig(loss.PriorMutualInformation)}
	l, err := loss.New(terms, []loss.Head{{Teacher: 2, Student: 2}}, 2, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	state, err := l.NewState()
	if err != nil {
		fmt.Println(err)
		return
	}
	teacher := [][]float64{{4, 0}, {0, 4}}
	student := [][]float64{{1, 0}, {0, 1}}

	// In a cluster this is an all-reduce; in one process, a sum that waits for both lanes.
	reduce := newBarrier(2).reduce
	results, errs := make([]*loss.Result, 2), make([]error, 2)
	var lanes sync.WaitGroup
	for i := range 2 {
		lane := l.Lane(i, 1)
		lanes.Go(func() {
			b := loss.Batch{Heads: []loss.Pair{{Teacher: teacher[i], Student: student[i]}}}
			results[i], errs[i] = lane.Evaluate(b, state, 0, reduce)
		})
	}
	lanes.Wait()
	for i, r := range results {
		if errs[i] != nil {
			fmt.Println(errs[i])
			return
		}
		fmt.Printf("lane %d: loss %.4f, gradient %.4f\n", i, r.Loss, r.Gradients[0])
	}
	h := results[0].Health
	fmt.Printf("I(S;T) = %.4f of at most %.4f nat, %d classes used\n", h.MutualInformation, h.LogClasses, h.UsedClasses)
	for _, t := range results[0].Terms {
		fmt.Printf("%s: %.4f, weight %v\n", t.Name, t.Value, t.Weight)
	}
	// Output:
	// lane 0: loss 0.1383, gradient [-0.2163 0.2163]
	// lane 1: loss 0.1383, gradient [0.2163 -0.2163]
	// I(S;T) = 0.1028 of at most 0.6931 nat, 2 classes used
	// prior_mutual_information: -0.1028, weight 1
	// start_kl: 0.2412, weight 1
}
