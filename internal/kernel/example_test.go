package kernel_test

import (
	"fmt"

	"pupil/internal/kernel"
)

// A convolution with its batch norm and activation, forward.
func Example() {
	g := kernel.Conv{N: 1, H: 3, W: 3, C: 1, K: 1, R: 3, S: 3, Stride: 1, Pad: 1}
	x := []float32{
		1, 2, 3,
		4, 5, 6,
		7, 8, 9,
	}
	w := []float32{ // the difference of the right and the left neighbour
		0, 0, 0,
		-1, 0, 1,
		0, 0, 0,
	}
	h, v := g.Out()
	y := make([]float32, g.N*h*v*g.K)
	var ws kernel.Workspace
	kernel.ConvForward(g, x, w, y, &ws)
	fmt.Println(y)

	mean, invStd, variance := make([]float32, 1), make([]float32, 1), make([]float32, 1)
	kernel.BatchNormForward(h*v, 1, y, []float32{1}, []float32{0}, 1e-5, kernel.ReLU, y, mean, invStd, variance)
	fmt.Printf("mean %.1f, variance %.2f: %.2f\n", mean, variance, y)
	// Output:
	// [2 2 -2 5 2 -5 8 2 -8]
	// mean [0.7], variance [24.25]: [0.29 0.29 0.00 0.93 0.29 0.00 1.58 0.29 0.00]
}

// Gradients of two lanes are added as integers: the sum is the same in any order.
func ExampleToFixed32() {
	const exponent, limit = -20, 1 << 24 // steps of 2^-20, magnitudes up to 16
	lanes := [][]float32{{0.1, -3, 20}, {0.2, 0.5, 1}}
	sum, part := make([]int32, 3), make([]int32, 3)
	for _, gradient := range lanes {
		saturated := kernel.ToFixed32(part, gradient, exponent, limit)
		fmt.Println(part, saturated)
		kernel.AddFixed32(sum, part)
	}
	out := make([]float32, 3)
	kernel.FromFixed32(out, sum, exponent)
	fmt.Printf("%.3f\n", out)
	// Output:
	// [104858 -3145728 16777216] 1
	// [209715 524288 1048576] 0
	// [0.300 -2.500 17.000]
}
