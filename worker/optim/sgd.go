package optim

import "pupil/internal/kernel"

// sgd is stochastic gradient descent with momentum as PyTorch defines it (Sutskever et al. 2013, without dampening):
//
//	g = gradient + decay * p
//	v = momentum * v + g
//	p = p - rate * v                      plain
//	p = p - rate * (g + momentum * v)     Nesterov
//
// PyTorch starts v with the first g, which is what v = 0 gives here.
type sgd struct {
	groups   []Group
	velocity []float32
	momentum float32
	decay    float32
	nesterov bool
}

func newSGD(c Config, size int, groups []Group) *sgd {
	return &sgd{
		groups: groups, velocity: make([]float32, size),
		momentum: float32(c.Momentum), decay: float32(c.WeightDecay), nesterov: c.Nesterov,
	}
}

func (s *sgd) Moments() []Moment { return []Moment{{Name: "velocity", Values: s.velocity}} }

func (s *sgd) Step(params, gradients []float32, _ int, rate float64) {
	for _, group := range s.groups {
		s.update(group, params, gradients, float32(rate), 1)
	}
}

// update is a group's step, where ratio * (gradient + decay * p) is g. A ratio of 1 changes no bit.
func (s *sgd) update(group Group, params, gradients []float32, rate, ratio float32) {
	f := kernel.Momentum{Ratio: ratio, Momentum: s.momentum, Rate: rate, Nesterov: s.nesterov}
	if group.Decay {
		f.Decay = s.decay
	}
	kernel.MomentumStep(params[group.Offset:][:group.Len], gradients[group.Offset:][:group.Len],
		s.velocity[group.Offset:][:group.Len], f)
}
