package loss

import (
	"fmt"
	"math"

	"pupil/internal/kernel"
	"pupil/internal/random/elementary"
)

// smallest bounds q / exp(shift), so that s / q stays finite. It is met only where p(s) has a class of probability
// e^-600, and counts as the floor of log q does. That floor itself is never met: with the floors of P a ratio is at
// least 1e-12, and t and s sum to 1.
const smallest = 0x1p-960

// mixture evaluates, for each feature group, -mean_n log q_n with q_n = sum_ij t_ni s_nj r_ij and r_ij = p(s|t)_ij / p(s)_j, which takes a
// second round of sums, because r comes from the first.
//
// A sample's responsibilities e_ij = t_ni s_nj r_ij / q_n add up to 1, and M = sum_n e is what crosses the lanes:
// -M_ij / N is the term's derivative with respect to log r_ij = log P_ij - log P_i. - log p(s)_j. So
//
//	d/dP_ij = (1/N) (sum_k M_ik / P_i. - M_ij / P_ij), each part unless under the floor
//	d/dlog p(s)_j = (1/N) sum_i M_ij
//
// and the sample's own s_nj has -(1/N) sum_i t_ni r_ij / q_n besides (see direction). All ratios are divided by
// exp(shift), shift the largest -log p(s)_j, so that none overflows whatever the prior is.
func (l *Lane) mixture(reduce Reduce) (float64, error) {
	clear(l.mixed)
	x := l.loss.mainSource()
	view := &l.views[l.loss.main]
	for g, m := range l.mutuals {
		shift := m.ratios()
		for n := range l.n {
			t, s := x.group(view.t, n, g, x.teacher), x.group(view.s, n, g, x.student)
			value := m.countMixture(n, t, s, shift, l.loss.unit)
			l.loss.unit.addValue(l.mixed[len(l.mixed)-2:], value)
		}
	}
	if err := reduce(l.mixed); err != nil {
		return 0, fmt.Errorf("reduce the mixture's responsibilities: %w", err)
	}
	samples := float64(l.loss.samples)
	for _, m := range l.mutuals {
		m.mixtureGradient(l.loss.unit, samples)
	}
	return l.loss.unit.readValue(l.mixed[len(l.mixed)-2:]) / samples, nil
}

// ratios sets aux to r / exp(shift) and returns shift.
func (m *mutual) ratios() (shift float64) {
	for _, v := range m.logS {
		shift = max(shift, -v)
	}
	c := m.joint.student
	for i := range m.joint.rows {
		for j, v := range m.joint.logP[i*c:][:c] {
			m.aux[i*c+j] = v - m.joint.logRows[i] - (m.logS[j] + shift)
		}
	}
	kernel.Exps(m.aux, m.aux)
	return shift
}

// countMixture adds sample n's responsibilities and returns its value, -log q_n.
func (m *mutual) countMixture(n int, t, s []float64, shift float64, format fixed) float64 {
	c := m.joint.student
	v := m.v[n*c:][:c]
	multiply(v, t, m.aux)
	q := 0.0
	for j, p := range s {
		q += float64(p * v[j])
	}
	m.q[n] = 0
	if q < smallest {
		return -logFloor
	}
	m.q[n] = q
	for j, p := range s {
		m.scratch[j] = p / q
	}
	for i, p := range t {
		row, ratios := m.sums[i*c:][:c], m.aux[i*c:][:c]
		for j, r := range ratios {
			row[j] += int64(math.RoundToEven(p * r * m.scratch[j] * format.scale))
		}
	}
	return -(elementary.Log(q) + shift)
}

// mixtureGradient sets g and dlogS from the responsibilities.
func (m *mutual) mixtureGradient(format fixed, samples float64) {
	c := m.joint.student
	clear(m.dlogS)
	for i := range m.joint.rows {
		row := 0.0
		for j, q := range m.sums[i*c:][:c] {
			e := format.value(q) / samples
			row += e
			m.dlogS[j] += e
			m.g[i*c+j] = 0
			if p := m.joint.p[i*c+j]; p >= floor {
				m.g[i*c+j] = -e / p
			}
		}
		if m.joint.rows[i] < floor {
			continue
		}
		row /= m.joint.rows[i]
		for j := range c {
			m.g[i*c+j] += row
		}
	}
}
