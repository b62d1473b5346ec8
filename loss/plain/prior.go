package plain

import (
	"math"

	"pupil/loss"
)

// follow is the natural step: z moves by eta (log max(marginal, 1e-6) - log p(s)); with a configured mean its part of z
// is added to the target, which is normalised then.
func (m *mutual) follow(c loss.PriorConfig) {
	_, target := marginals(m.joint)
	weight, sum := 0.0, 0.0
	for _, w := range m.prior.W {
		weight += w
	}
	for j, p := range target {
		target[j] = math.Log(max(p, 1e-6))
		if len(m.prior.Mean) > 0 {
			target[j] += weight * m.prior.Mean[j]
			sum += math.Exp(target[j])
		}
	}
	for j := range target {
		if len(m.prior.Mean) > 0 {
			target[j] -= math.Log(sum)
		}
		move(m.prior, j, c.Rate*(target[j]-m.logPrior[j]))
	}
}

// move changes z_j by dz with the smallest change of m and d.
func move(p *loss.Prior, j int, dz float64) {
	q := 0.0
	for g, w := range p.W {
		a := p.A[g*p.Classes+j]
		q += w * w * (1 + a*a)
	}
	for g, w := range p.W {
		i := g*p.Classes + j
		p.M[i] += w * dz / q
		p.D[i] += w * p.A[i] * dz / q
	}
}

// finish returns the gradients of m and d when the value has a weight, and the prior after the updates that follow the gradient.
func (m *mutual) finish(c loss.Config, weight float64) (gradM, gradD []float64, after *loss.Prior) {
	p := m.prior
	gradM, gradD = make([]float64, len(p.M)), make([]float64, len(p.D))
	sum := 0.0
	for _, v := range m.gradPrior {
		sum += v
	}
	for g, w := range p.W {
		for j, v := range m.gradPrior {
			i := g*p.Classes + j
			gradM[i] = weight * w * (v - math.Exp(m.logPrior[j])*sum)
			gradD[i] = gradM[i] * p.A[i]
		}
	}
	rate := map[string]float64{loss.UpdateMaximize: c.Prior.Rate, loss.UpdateMinimize: -c.Prior.Rate}[c.Prior.Update]
	for i := range p.M {
		p.M[i] += rate * gradM[i]
		p.D[i] += rate * gradD[i]
	}
	if c.Prior.Update == loss.UpdateMinimize {
		for j := range m.gradPrior {
			z := 0.0
			for g, w := range p.W {
				i := g*p.Classes + j
				z += w * (p.M[i] + p.D[i]*p.A[i])
			}
			move(p, j, min(max(z, -c.Prior.Bound), c.Prior.Bound)-z)
		}
	}
	return gradM, gradD, p
}
