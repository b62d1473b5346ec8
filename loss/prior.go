package loss

import (
	"errors"
	"fmt"

	"pupil/internal/random"
)

// Prior is the state of the student's prior p(s) = softmax(z), z_j = sum_g w_g (m_gj + d_gj a_gj). M and D are learnt,
// A, W and Mean stay. Matrices are [Groups, Classes], row-major. [Lane.Evaluate] returns another Prior, which shares what
// stays with the one that it was given.
type Prior struct {
	Groups, Classes int
	M, D, A         []float64 // [G, C]
	W               []float64 // [G]
	Mean            []float64 // [C], what a natural update adds to the target of z, over the sum of w; empty: nothing
}

// newPrior draws the initial distribution of a prior over a number of classes: a from the stream (random.PurposePrior,
// seed, group), m and d as configured. The streams of a feature group follow those of the groups before it.
func newPrior(c PriorConfig, classes int, seed uint64, featureGroup int) (*Prior, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	size := c.Groups * classes
	p := &Prior{
		Groups: c.Groups, Classes: classes,
		M: make([]float64, size), D: make([]float64, size), A: make([]float64, size),
		W: make([]float64, c.Groups), Mean: c.Mean,
	}
	for g := range c.Groups {
		p.W[g] = 1
		if len(c.Weights) > 0 {
			p.W[g] = c.Weights[g]
		}
		copy(p.M[g*classes:], c.Mean)
		stream := random.New(random.PurposePrior, seed, uint64(featureGroup*c.Groups+g))
		draw := stream.Normal
		if c.Distribution == Laplace {
			draw = stream.Laplace
		}
		for j := range classes {
			p.D[g*classes+j] = c.Deviation
			p.A[g*classes+j] = draw()
		}
	}
	return p, nil
}

// Validate returns an error if a length does not fit Groups and Classes, a value is not finite, or W is all 0.
func (p *Prior) Validate() error {
	size := p.Groups * p.Classes
	switch {
	case p.Groups < 1 || p.Classes < 2:
		return fmt.Errorf("prior of %d groups and %d classes: needs 1 and 2 or more", p.Groups, p.Classes)
	case len(p.Mean) != 0 && len(p.Mean) != p.Classes:
		return fmt.Errorf("prior of %d classes has %d means", p.Classes, len(p.Mean))
	case len(p.M) != size || len(p.D) != size || len(p.A) != size || len(p.W) != p.Groups:
		return fmt.Errorf("prior of %d groups and %d classes has %d, %d, %d and %d values of m, d, a and w",
			p.Groups, p.Classes, len(p.M), len(p.D), len(p.A), len(p.W))
	case allZero(p.W):
		return errors.New("prior's weights are all 0")
	}
	f := &faults{}
	f.finite("prior m", p.M)
	f.finite("prior d", p.D)
	f.finite("prior a", p.A)
	f.finite("prior w", p.W)
	return errors.Join(*f...)
}

// LogProbabilities writes log p(s), [Classes], to dst.
func (p *Prior) LogProbabilities(dst []float64) {
	p.scores(dst)
	logSoftmax(dst)
}

// scores writes z, [C].
func (p *Prior) scores(z []float64) {
	clear(z)
	for g, w := range p.W {
		row := g * p.Classes
		for j := range z {
			x := p.M[row+j] + float64(p.D[row+j]*p.A[row+j])
			z[j] += float64(w * x)
		}
	}
}

// clone copies what is learnt and shares the rest.
func (p *Prior) clone() *Prior {
	size := p.Groups * p.Classes
	learnt := make([]float64, 2*size)
	c := &Prior{Groups: p.Groups, Classes: p.Classes, M: learnt[:size:size], D: learnt[size:], A: p.A, W: p.W, Mean: p.Mean}
	copy(c.M, p.M)
	copy(c.D, p.D)
	return c
}

// shift moves z by dz with the smallest change of m and d: dm_g = w_g dz / q, dd_g = w_g a_g dz / q with
// q = sum_g w_g^2 (1 + a_g^2).
func (p *Prior) shift(dz []float64) {
	for j, change := range dz {
		q := 0.0
		for g, w := range p.W {
			a := p.A[g*p.Classes+j]
			q += float64(float64(w*w) * (1 + float64(a*a)))
		}
		for g, w := range p.W {
			i := g*p.Classes + j
			p.M[i] += float64(w*change) / q
			p.D[i] += float64(float64(w*p.A[i])*change) / q
		}
	}
}

// descend moves m and d by -rate times their gradients; a negative rate ascends.
func (p *Prior) descend(rate float64, gradM, gradD []float64) {
	for i := range p.M {
		p.M[i] -= float64(rate * gradM[i])
		p.D[i] -= float64(rate * gradD[i])
	}
}

// clip brings every |z| within bound, with the smallest change of m and d. z is scratch, [C].
func (p *Prior) clip(bound float64, z []float64) {
	p.scores(z)
	for j, v := range z {
		z[j] = min(max(v, -bound), bound) - v
	}
	p.shift(z)
}
