package loss

import (
	"pupil/internal/kernel"
	"pupil/internal/random/elementary"
)

// joint is a joint distribution of the teacher's and the student's class, with what is derived from it.
type joint struct {
	teacher, student int       // classes
	p, logP          []float64 // [Ct, Cs], teacher's class first
	rows, logRows    []float64 // [Ct], the teacher's marginal
	cols, logCols    []float64 // [Cs], the student's
}

func newJoint(teacher, student int) *joint {
	size := teacher * student
	b := make([]float64, 2*(size+teacher+student))
	take := func(n int) []float64 {
		part := b[:n:n]
		b = b[n:]
		return part
	}
	return &joint{
		teacher: teacher, student: student, p: take(size), logP: take(size),
		rows: take(teacher), logRows: take(teacher), cols: take(student), logCols: take(student),
	}
}

// read sets the product joint, t^T s / N, from the counts of t_i s_j, normalised to sum 1.
func (j *joint) read(counts []int64) {
	total := int64(0)
	for _, q := range counts {
		total += q
	}
	for i := range j.p {
		j.p[i] = float64(counts[i]) / float64(total)
	}
	j.finish()
}

// symmetrize sets the symmetric joint, the mean of the product joint and its transpose.
func (j *joint) symmetrize(product *joint) {
	copy(j.p, product.p)
	symmetrize(j.p, j.student)
	j.finish()
}

// symmetrize replaces m, [C, C], by (m + m^T) / 2.
func symmetrize(m []float64, c int) {
	for i := range c {
		for k := range i {
			mean := float64(m[i*c+k]*0.5) + float64(m[k*c+i]*0.5)
			m[i*c+k], m[k*c+i] = mean, mean
		}
	}
}

// finish derives marginals and logarithms from p.
func (j *joint) finish() {
	c := j.student
	clear(j.cols)
	for i := range j.rows {
		sum := 0.0
		for k, p := range j.p[i*c:][:c] {
			sum += p
			j.cols[k] += p
		}
		j.rows[i] = sum
	}
	kernel.Logs(j.logP, j.p, floor, logFloor)
	kernel.Logs(j.logRows, j.rows, floor, logFloor)
	kernel.Logs(j.logCols, j.cols, floor, logFloor)
}

// information is I = sum_ij P_ij (log P_ij - log P_i. - log P_.j), in nats.
func (j *joint) information() float64 {
	c, v := j.student, 0.0
	for i := range j.rows {
		for k, p := range j.p[i*c:][:c] {
			v += float64(p * (j.logP[i*c+k] - j.logRows[i] - j.logCols[k]))
		}
	}
	return v
}

// conditionalEntropy is H(s|t) = sum_ij P_ij (log P_i. - log P_ij), in nats.
func (j *joint) conditionalEntropy() float64 {
	c, v := j.student, 0.0
	for i := range j.rows {
		for k, p := range j.p[i*c:][:c] {
			v += float64(p * (j.logRows[i] - j.logP[i*c+k]))
		}
	}
	return v
}

// logClasses is the logarithm of the smaller number of classes, which no mutual information exceeds.
func (j *joint) logClasses() float64 { return elementary.Log(float64(min(j.teacher, j.student))) }
