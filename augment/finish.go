package augment

import "slices"

// finish is what happens to the values of a view last, row by row while they are in the cache: brightness, then
// normalisation.
type finish struct {
	factor        float32   // of the brightness; 1: no change
	mean, inverse []float32 // of each channel; empty: no normalisation
}

// newFinish is the normalisation of a configuration: (x - mean) / std as a multiplication by 1/std.
func newFinish(c Config) finish {
	f := finish{factor: 1}
	for i := range c.Mean {
		f.mean = append(f.mean, float32(c.Mean[i]))
		f.inverse = append(f.inverse, float32(1/c.Std[i]))
	}
	return f
}

// sameNormalisation says whether both leave the same values.
func (f finish) sameNormalisation(g finish) bool {
	return slices.Equal(f.mean, g.mean) && slices.Equal(f.inverse, g.inverse)
}

// apply changes v [pixels, channels] in place: brighten, then normalise.
func (f finish) apply(v []float32) {
	if f.factor != 1 {
		brighten(v, f.factor)
	}
	switch len(f.mean) {
	case 1:
		mean, inverse := f.mean[0], f.inverse[0]
		for i, x := range v {
			v[i] = (x - mean) * inverse
		}
	case 3:
		m0, m1, m2 := f.mean[0], f.mean[1], f.mean[2]
		i0, i1, i2 := f.inverse[0], f.inverse[1], f.inverse[2]
		for ; len(v) >= 3; v = v[3:] {
			v[0], v[1], v[2] = (v[0]-m0)*i0, (v[1]-m1)*i1, (v[2]-m2)*i2
		}
	}
}
