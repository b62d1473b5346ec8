package optim

import (
	"math"

	"pupil/internal/kernel"
)

// adamw is AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) in PyTorch's form:
//
//	p = p * (1 - rate * decay)
//	m = beta1 * m + (1 - beta1) * g
//	v = beta2 * v + (1 - beta2) * g * g
//	p = p - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)         t = 1, 2, ...
type adamw struct {
	groups        []Group
	first, second []float32
	beta1, beta2  float64
	decay         float64
	epsilon       float32
}

func newAdamW(c Config, size int, groups []Group) *adamw {
	return &adamw{
		groups: groups, first: make([]float32, size), second: make([]float32, size),
		beta1: c.Beta1, beta2: c.Beta2, decay: c.WeightDecay, epsilon: float32(c.Epsilon),
	}
}

func (a *adamw) Moments() []Moment {
	return []Moment{{Name: "first_moment", Values: a.first}, {Name: "second_moment", Values: a.second}}
}

func (a *adamw) Step(params, gradients []float32, step int, rate float64) {
	t := step + 1
	f := kernel.AdamW{
		Beta1: float32(a.beta1), Rest1: float32(1 - a.beta1), Beta2: float32(a.beta2), Rest2: float32(1 - a.beta2),
		Unbias: float32(1 / math.Sqrt(1-power(a.beta2, t))), Epsilon: a.epsilon,
		Rise: float32(rate / (1 - power(a.beta1, t))),
	}
	for _, group := range a.groups {
		f.Keep = 1
		if group.Decay {
			f.Keep = float32(1 - float64(rate*a.decay))
		}
		kernel.AdamWStep(params[group.Offset:][:group.Len], gradients[group.Offset:][:group.Len],
			a.first[group.Offset:][:group.Len], a.second[group.Offset:][:group.Len], f)
	}
}
