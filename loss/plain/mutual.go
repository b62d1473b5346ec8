package plain

import (
	"math"

	"pupil/loss"
)

// mutual is one evaluation of the prior mutual information.
type mutual struct {
	t, s, joint matrix // [N, Ct], [N, Cs], [Ct, Cs]
	prior       *loss.Prior
	logPrior    []float64 // [Cs], log p(s)

	value     float64
	gradP     matrix    // [Ct, Cs], with respect to the joint
	gradS     matrix    // [N, Cs], with respect to s
	gradPrior []float64 // [Cs], with respect to log p(s)
}

func evaluateMutual(c loss.Config, t, s matrix, prior *loss.Prior) *mutual {
	classes := len(s[0])
	m := &mutual{
		t: t, s: s, prior: clone(prior), logPrior: make([]float64, classes),
		gradP: newMatrix(len(t[0]), classes), gradS: newMatrix(len(s), classes), gradPrior: make([]float64, classes),
	}
	m.formJoint(c.Joint == loss.JointSymmetric)
	m.prior.LogProbabilities(m.logPrior)
	if c.Prior.Update == loss.UpdateNatural {
		m.follow(c.Prior)
		m.prior.LogProbabilities(m.logPrior)
	}
	switch c.Posterior {
	case loss.PosteriorConditional:
		m.conditional()
	case loss.PosteriorSample:
		m.sample()
	case loss.PosteriorMixture:
		m.mixture()
	}
	m.backJoint(c.Joint == loss.JointSymmetric)
	return m
}

func clone(p *loss.Prior) *loss.Prior {
	c := *p
	c.M, c.D = append([]float64(nil), p.M...), append([]float64(nil), p.D...)
	return &c
}

// formJoint sets P: sum_n t (x) s, made symmetric if asked for, divided by its sum.
func (m *mutual) formJoint(symmetric bool) {
	sum := 0.0
	m.joint = newMatrix(len(m.t[0]), len(m.s[0]))
	for n := range m.s {
		for i, p := range m.t[n] {
			for j, q := range m.s[n] {
				if symmetric {
					m.joint[i][j] += p * q / 2
					m.joint[j][i] += p * q / 2
				} else {
					m.joint[i][j] += p * q
				}
				sum += p * q
			}
		}
	}
	for i := range m.joint {
		for j := range m.joint[i] {
			m.joint[i][j] /= sum
		}
	}
}

// backJoint takes the gradient of P to that of s. That of the division by the sum is the same for all s_nj of a sample,
// so the softmax takes it away.
func (m *mutual) backJoint(symmetric bool) {
	for n := range m.s {
		for i, p := range m.t[n] {
			for j := range m.s[n] {
				g := m.gradP[i][j]
				if symmetric {
					g = (m.gradP[i][j] + m.gradP[j][i]) / 2
				}
				m.gradS[n][j] += p * g / float64(len(m.s))
			}
		}
	}
}

// conditional: sum_ij P_ij (log p(s)_j - log P_ij + log P_i.).
func (m *mutual) conditional() {
	rows, _ := marginals(m.joint)
	for i := range m.joint {
		for j, p := range m.joint[i] {
			v := m.logPrior[j] - log(p) + log(rows[i])
			m.value += p * v
			m.gradP[i][j] = v - p*over(p) + rows[i]*over(rows[i])
			m.gradPrior[j] += p
		}
	}
}

// sample: sum_ij P_ij (log p(s)_j - A_ij / T_i), A_ij = sum_n t_ni log s_nj, T_i = sum_n t_ni.
func (m *mutual) sample() {
	for i := range m.joint {
		mass := 0.0
		for n := range m.t {
			mass += m.t[n][i]
		}
		mass = max(mass, floor)
		for j, p := range m.joint[i] {
			a := 0.0
			for n := range m.t {
				a += m.t[n][i] * log(m.s[n][j])
				m.gradS[n][j] -= p * m.t[n][i] / mass * over(m.s[n][j])
			}
			v := m.logPrior[j] - a/mass
			m.value += p * v
			m.gradP[i][j] = v
			m.gradPrior[j] += p
		}
	}
}

// mixture: -mean_n log q_n, q_n = sum_ij t_ni s_nj r_ij, r_ij = P_ij / P_i. / p(s)_j.
func (m *mutual) mixture() {
	rows, _ := marginals(m.joint)
	classes, samples := len(m.logPrior), float64(len(m.s))
	ratio, gradLog := newMatrix(len(rows), classes), newMatrix(len(rows), classes) // gradLog: of log r
	for i := range ratio {
		for j, p := range m.joint[i] {
			ratio[i][j] = math.Exp(log(p) - log(rows[i]) - m.logPrior[j])
		}
	}
	for n := range m.s {
		q := 0.0
		for i, p := range m.t[n] {
			for j, r := range ratio[i] {
				q += p * m.s[n][j] * r
			}
		}
		m.value -= log(q) / samples
		for i, p := range m.t[n] {
			for j, r := range ratio[i] {
				m.gradS[n][j] -= p * r * over(q) / samples
				gradLog[i][j] -= p * m.s[n][j] * r * over(q) / samples
			}
		}
	}
	for i := range ratio {
		row := 0.0
		for j, g := range gradLog[i] {
			row += g
			m.gradPrior[j] -= g
		}
		for j, g := range gradLog[i] {
			m.gradP[i][j] = g*over(m.joint[i][j]) - row*over(rows[i])
		}
	}
}
