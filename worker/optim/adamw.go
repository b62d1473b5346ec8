package optim

import "math"

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
	rise := float32(rate / (1 - power(a.beta1, t)))
	unbias := float32(1 / math.Sqrt(1-power(a.beta2, t)))
	b1, b2 := float32(a.beta1), float32(a.beta2)
	c1, c2 := float32(1-a.beta1), float32(1-a.beta2)
	for _, group := range a.groups {
		keep := float32(1)
		if group.Decay {
			keep = float32(1 - float64(rate*a.decay))
		}
		p := params[group.Offset:][:group.Len]
		g := gradients[group.Offset:][:group.Len]
		m := a.first[group.Offset:][:group.Len]
		v := a.second[group.Offset:][:group.Len]
		for i := range p {
			x := g[i]
			m[i] = float32(b1*m[i]) + float32(c1*x)
			v[i] = float32(b2*v[i]) + float32(float32(c2*x)*x)
			p[i] = float32(keep*p[i]) - float32(rise*m[i])/(float32(sqrt32(v[i])*unbias)+a.epsilon)
		}
	}
}
