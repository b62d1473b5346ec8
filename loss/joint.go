package loss

// joint is a joint distribution of the teacher's and the student's class, with what is derived from it.
type joint struct {
	classes          int
	p, logP          []float64 // [C, C], teacher's class first
	rows, cols       []float64 // [C], the marginals
	logRows, logCols []float64 // [C]
}

func newJoint(classes int) *joint {
	c := classes
	b := make([]float64, 2*c*c+4*c)
	take := func(n int) []float64 {
		part := b[:n:n]
		b = b[n:]
		return part
	}
	return &joint{
		classes: c, p: take(c * c), logP: take(c * c),
		rows: take(c), cols: take(c), logRows: take(c), logCols: take(c),
	}
}

// read sets the product joint, t^T s / N, from the counts of t_i s_j, normalised to sum 1.
func (j *joint) read(counts []int64) {
	total := int64(0)
	for i := range j.p {
		total += counts[i]
	}
	for i := range j.p {
		j.p[i] = float64(counts[i]) / float64(total)
	}
	j.finish()
}

// symmetrize sets the symmetric joint, the mean of the product joint and its transpose.
func (j *joint) symmetrize(product *joint) {
	copy(j.p, product.p)
	symmetrize(j.p, j.classes)
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
	c := j.classes
	clear(j.cols)
	for i := range c {
		sum := 0.0
		for k, p := range j.p[i*c:][:c] {
			sum += p
			j.cols[k] += p
			j.logP[i*c+k] = floorLog(p)
		}
		j.rows[i] = sum
		j.logRows[i] = floorLog(sum)
	}
	for k, p := range j.cols {
		j.logCols[k] = floorLog(p)
	}
}

// information is I = sum_ij P_ij (log P_ij - log P_i. - log P_.j), in nats.
func (j *joint) information() float64 {
	c, v := j.classes, 0.0
	for i := range c {
		for k, p := range j.p[i*c:][:c] {
			v += float64(p * (j.logP[i*c+k] - j.logRows[i] - j.logCols[k]))
		}
	}
	return v
}

// conditionalEntropy is H(s|t) = sum_ij P_ij (log P_i. - log P_ij), in nats.
func (j *joint) conditionalEntropy() float64 {
	c, v := j.classes, 0.0
	for i := range c {
		for k, p := range j.p[i*c:][:c] {
			v += float64(p * (j.logRows[i] - j.logP[i*c+k]))
		}
	}
	return v
}
