package loss

import (
	"fmt"

	"pupil/internal/random/elementary"
)

// mutual evaluates the prior mutual information of one feature group. Everything but v and q is global and equal in all
// lanes.
type mutual struct {
	config *Config
	joint  *joint // P of the loss; the lane's own product joint unless it is symmetric
	own    bool   // joint is not the product joint
	prior  *Prior
	logS   []float64 // [Cs], log p(s)
	dlogS  []float64 // [Cs], gradient of the group's value with respect to log p(s)
	g      []float64 // [Ct, Cs], gradient of the group's value with respect to P (of the product joint)
	aux    []float64 // [Ct, Cs], sample: P_ij / T_i; mixture: the ratios p(s|t)_ij / p(s)_j, scaled

	sums []int64   // mixture: responsibilities [Ct, Cs]
	v    []float64 // mixture: sum_i t_ni ratio_ij, [n, Cs]
	q    []float64 // mixture: sum_j v_nj s_nj, [n], scaled; 0 if too small

	gradM, gradD []float64 // [G, Cs]
	scratch      []float64 // [Cs]
}

func newMutual(config *Config, product *joint, n int) *mutual {
	c, size := product.student, config.Prior.Groups*product.student
	m := &mutual{
		config: config, joint: product,
		logS: make([]float64, c), dlogS: make([]float64, c), scratch: make([]float64, c),
		g: make([]float64, len(product.p)), aux: make([]float64, len(product.p)),
		gradM: make([]float64, size), gradD: make([]float64, size),
	}
	if config.Joint == JointSymmetric {
		m.joint, m.own = newJoint(c, c), true
	}
	if config.Posterior == PosteriorMixture {
		m.v, m.q = make([]float64, n*c), make([]float64, n)
	}
	return m
}

// evaluateMutual sets the term's value, the mean over feature groups, and the gradients with respect to P, m and d, once
// the sums are in.
func (l *Lane) evaluateMutual(state *State, reduce Reduce) error {
	samples, groups := float64(l.loss.samples), float64(len(l.mutuals))
	value := 0.0
	for g, m := range l.mutuals {
		if m.own {
			m.joint.symmetrize(l.products[g])
		}
		if err := m.begin(state.Priors[g]); err != nil {
			return err
		}
		size := len(m.g)
		switch m.config.Posterior {
		case PosteriorConditional:
			value += m.conditional()
		case PosteriorSample:
			counts := l.sums[l.loss.layout.logPosterior+g*size:][:size]
			value += m.sample(counts, l.loss.wide, l.products[g].rows, samples)
		}
	}
	if l.mixed != nil {
		var err error
		if value, err = l.mixture(reduce); err != nil {
			return err
		}
	}
	for i, p := range l.loss.parts {
		if p.kind != kindMutual {
			continue
		}
		l.result.Terms[i].Value = value / groups
		for _, m := range l.mutuals {
			if m.own { // the gradient with respect to the product joint
				symmetrize(m.g, m.joint.student)
			}
			m.priorGradient(l.result.Terms[i].Weight / groups)
		}
	}
	return nil
}

// begin takes the step's prior, and lets it follow the marginal if it is updated so.
func (m *mutual) begin(p *Prior) error {
	m.prior = p.clone()
	m.prior.LogProbabilities(m.logS)
	if m.config.Prior.Update == UpdateNatural {
		m.follow()
		m.prior.LogProbabilities(m.logS)
	}
	for j, v := range m.logS {
		if !finite(v) {
			return fmt.Errorf("prior's log probability of class %d is %g: its m or d is too large", j, v)
		}
	}
	return nil
}

// follow is the natural-gradient ascent step: dz = eta (target - log p(s)), where the target is the log marginal of the
// student's class, floored at 1e-6, plus what the configured mean adds to z.
func (m *mutual) follow() {
	const marginalFloor = 1e-6
	target := m.scratch
	for j, p := range m.joint.cols {
		target[j] = elementary.Log(max(p, marginalFloor))
	}
	if len(m.prior.Mean) > 0 {
		sum := 0.0
		for _, w := range m.prior.W {
			sum += w
		}
		for j, mean := range m.prior.Mean {
			target[j] += float64(sum * mean)
		}
		logSoftmax(target)
	}
	for j := range target {
		target[j] = m.config.Prior.Rate * (target[j] - m.logS[j])
	}
	m.prior.shift(target)
}

// conditional evaluates sum_ij P_ij (log p(s)_j - log P_ij + log P_i.). Its derivative with respect to P_ij is the
// bracket, less 1 from log P_ij, plus 1 from log P_i., each unless under the floor.
func (m *mutual) conditional() float64 {
	c, value := m.joint.student, 0.0
	for i := range m.joint.rows {
		row := 0.0
		if m.joint.rows[i] >= floor {
			row = 1
		}
		for j, p := range m.joint.p[i*c:][:c] {
			g := m.logS[j] - m.joint.logP[i*c+j] + m.joint.logRows[i]
			value += float64(p * g)
			if p >= floor {
				g--
			}
			m.g[i*c+j] = g + row
		}
	}
	copy(m.dlogS, m.joint.cols)
	return value
}

// sample evaluates sum_ij P_ij (log p(s)_j - A_ij / T_i) with A = sum_n t_ni log s_nj and T = sum_n t_ni.
// Counts hold A, and teacher is the marginal T / samples.
func (m *mutual) sample(counts []int64, format fixed, teacher []float64, samples float64) float64 {
	c, value := m.joint.student, 0.0
	for i := range m.joint.rows {
		mass := max(teacher[i]*samples, floor)
		for j, p := range m.joint.p[i*c:][:c] {
			g := m.logS[j] - format.value(counts[i*c+j])/mass
			value += float64(p * g)
			m.g[i*c+j] = g
			m.aux[i*c+j] = p / mass
		}
	}
	copy(m.dlogS, m.joint.cols)
	return value
}

// priorGradient takes dlogS through log p(s) = log softmax(sum_g w_g (m_g + d_g a_g)).
func (m *mutual) priorGradient(weight float64) {
	sum := 0.0
	for _, v := range m.dlogS {
		sum += v
	}
	for j, v := range m.dlogS {
		dz := weight * (v - float64(elementary.Exp(m.logS[j])*sum))
		for g, w := range m.prior.W {
			i := g*len(m.dlogS) + j
			m.gradM[i] = w * dz
			m.gradD[i] = w * m.prior.A[i] * dz
		}
	}
}

// direction writes the gradient of the group's value with respect to sample n's s, up to a constant, which the softmax's
// own gradient takes away: (1/N) sum_i t_i g_ij, and what does not go through P.
func (m *mutual) direction(u []float64, n int, t, s []float64, samples float64) {
	multiply(u, t, m.g)
	switch m.config.Posterior {
	case PosteriorSample: // -sum_i t_i P_ij / T_i / s_j; not a mean over samples, T is a sum
		multiply(m.scratch, t, m.aux)
		for j, p := range s {
			u[j] /= samples
			if p >= floor {
				u[j] -= m.scratch[j] / p
			}
		}
	case PosteriorMixture: // -(1/N) v_j / q
		v, q := m.v[n*len(s):], m.q[n]
		for j := range u {
			if q > 0 {
				u[j] -= v[j] / q
			}
			u[j] /= samples
		}
	default:
		for j := range u {
			u[j] /= samples
		}
	}
}

// multiply writes t^T m, [Cs], for m [Ct, Cs]. Sums run over the rows in order, four of them at a time.
func multiply(u, t, m []float64) {
	clear(u)
	c := len(u)
	for ; len(t) >= 4; t, m = t[4:], m[4*c:] {
		p0, p1, p2, p3 := t[0], t[1], t[2], t[3]
		m0, m1, m2, m3 := m[:c], m[c:][:c], m[2*c:][:c], m[3*c:][:c]
		for j, v := range u {
			v += float64(p0 * m0[j])
			v += float64(p1 * m1[j])
			v += float64(p2 * m2[j])
			u[j] = v + float64(p3*m3[j])
		}
	}
	for i, p := range t {
		for j, v := range m[i*c:][:c] {
			u[j] += float64(p * v)
		}
	}
}

// updatePrior finishes the step of the prior.
func (m *mutual) updatePrior() {
	switch m.config.Prior.Update {
	case UpdateMaximize:
		m.prior.descend(-m.config.Prior.Rate, m.gradM, m.gradD)
	case UpdateMinimize:
		m.prior.descend(m.config.Prior.Rate, m.gradM, m.gradD)
		m.prior.clip(m.config.Prior.Bound, m.scratch)
	}
}
