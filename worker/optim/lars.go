package optim

import "math"

// lars is layer-wise adaptive rate scaling (You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks",
// 2017, algorithm 1): SGD with momentum whose step is scaled by a trust ratio, for each group whose weights decay:
//
//	ratio = trust * |p| / (|gradient| + decay * |p|)      1 where |p| or |gradient| is 0
//	g = ratio * (gradient + decay * p)
//	v = momentum * v + g
//	p = p - rate * v                      plain
//	p = p - rate * (g + momentum * v)     Nesterov
//
// |x| is the Euclidean norm of a group's elements, in float64. Other groups (biases and norms) take SGD's step, without
// decay and ratio.
//
// The paper multiplies g by the rate before it enters v. Here the rate stays outside, as in NVIDIA's LARC and timm's
// Lars, so that v does not remember old rates; the two are the same at a constant rate. LARC and timm add 1e-8 to the
// denominator. The LARS of MoCo v3 and MAE has |gradient + decay * p| as its denominator.
type lars struct {
	sgd
	trust, decay float64
}

func newLARS(c Config, size int, groups []Group) *lars {
	return &lars{sgd: *newSGD(c, size, groups), trust: c.TrustCoefficient, decay: c.WeightDecay}
}

func (l *lars) Step(params, gradients []float32, _ int, rate float64) {
	for _, group := range l.groups {
		ratio := float32(1)
		if group.Decay {
			ratio = l.ratio(params[group.Offset:][:group.Len], gradients[group.Offset:][:group.Len])
		}
		l.update(group, params, gradients, float32(rate), ratio)
	}
}

// ratio is a group's trust ratio, at most the largest float32: a gradient of subnormal numbers must not give infinity.
func (l *lars) ratio(params, gradients []float32) float32 {
	p, g := Norm(params), Norm(gradients)
	if p == 0 || g == 0 {
		return 1
	}
	return float32(min(l.trust*p/(g+float64(l.decay*p)), math.MaxFloat32))
}
