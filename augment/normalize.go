package augment

// normalize is (x - mean) / std for each channel, as a multiplication by 1/std.
type normalize struct {
	mean, inverse []float32 // empty: nothing is to be done
}

func newNormalize(c Config) normalize {
	var n normalize
	for i := range c.Mean {
		n.mean = append(n.mean, float32(c.Mean[i]))
		n.inverse = append(n.inverse, float32(1/c.Std[i]))
	}
	return n
}

// apply normalises v [pixels, channels] in place.
func (n normalize) apply(v []float32) {
	switch len(n.mean) {
	case 1:
		mean, inverse := n.mean[0], n.inverse[0]
		for i, x := range v {
			v[i] = (x - mean) * inverse
		}
	case 3:
		m0, m1, m2 := n.mean[0], n.mean[1], n.mean[2]
		i0, i1, i2 := n.inverse[0], n.inverse[1], n.inverse[2]
		for ; len(v) >= 3; v = v[3:] {
			v[0], v[1], v[2] = (v[0]-m0)*i0, (v[1]-m1)*i1, (v[2]-m2)*i2
		}
	}
}
