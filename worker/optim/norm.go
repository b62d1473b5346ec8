package optim

import "math"

// block is the length of the parts whose sums Norm adds: a fixed number, so that threads could share them.
const block = 1 << 16

// Norm is the Euclidean norm of a vector, 0 for an empty one. It is finite if and only if every element is: the square
// of a float32 is exact in float64, and a sum of them cannot overflow.
//
// Its order is fixed: in each block of 65536 elements four sums run side by side, sum k over the elements k, k+4, k+8
// and so on; what is left of the last block goes to sum 0; a block gives (sum 0 + sum 1) + (sum 2 + sum 3), and blocks
// are added one after the other. The relative error is under (16384 + blocks) * 2^-53.
func Norm(x []float32) float64 {
	total := 0.0
	for len(x) > block {
		total += sumSquares(x[:block])
		x = x[block:]
	}
	return math.Sqrt(total + sumSquares(x))
}

func sumSquares(x []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(x) >= 4; x = x[4:] {
		s0 += square(x[0])
		s1 += square(x[1])
		s2 += square(x[2])
		s3 += square(x[3])
	}
	for _, v := range x {
		s0 += square(v)
	}
	return (s0 + s1) + (s2 + s3)
}

func square(x float32) float64 { return float64(float64(x) * float64(x)) }

// ClipNorm scales gradients, in place, so that their global norm is at most about bound, and returns the norm that they
// had (Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013), in the form
// of PyTorch's clip_grad_norm_:
//
//	gradients = gradients * bound / (norm + 1e-6)      where this factor is below 1
//
// gradients are the sums over all lanes, of all parameters, so the norm does not depend on who carried which lane. It
// is taken in float64 (PyTorch: in float32). A norm that is not finite leaves the gradients as they are: the caller
// must look at what is returned. A bound of 0 only measures.
func ClipNorm(gradients []float32, bound float64) (norm float64) {
	norm = Norm(gradients)
	factor := bound / (norm + 1e-6)
	if !(bound > 0 && factor < 1) || math.IsInf(norm, 1) {
		return norm
	}
	f := float32(factor)
	for i, g := range gradients {
		gradients[i] = f * g
	}
	return norm
}
