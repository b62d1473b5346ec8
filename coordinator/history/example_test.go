package history_test

import (
	"fmt"

	"pupil/coordinator/history"
	"pupil/coordinator/wire"
)

func ExampleSeries() {
	var s history.Series
	for step := 1; step <= 1000; step++ {
		s.Add(wire.Report{Step: step, Loss: 1 / float64(step)}, 0)
	}
	fmt.Println(len(s.Steps), "points of", s.Stride, "steps, the last one at step", s.Steps[len(s.Steps)-1])
	// Output: 500 points of 2 steps, the last one at step 1000
}
