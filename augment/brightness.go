package augment

// drawFactor returns the factor of a view, uniform in [max(0, 1-b), 1+b].
func drawFactor(b float64, key Key) float32 {
	return float32(key.stream(opBrightness).Uniform(max(0, 1-b), 1+b))
}

// brighten multiplies v by the factor and cuts it to [0, 1]: torchvision's adjust_brightness.
func brighten(v []float32, factor float32) {
	for i, x := range v {
		y := x * factor // not under 0, since neither of them is
		if y > 1 {
			y = 1
		}
		v[i] = y
	}
}
