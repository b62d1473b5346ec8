package kernel

const (
	third = float32(1.0 / 3)
	sixth = float32(1.0 / 6)
)

// activateGeneric computes y = act(x). x and y have the same length and may be the same.
func activateGeneric(act Activation, x, y []float32) {
	y = y[:len(x)]
	switch act {
	case ReLU:
		for i, v := range x {
			y[i] = max(v, 0)
		}
	case ReLU6:
		for i, v := range x {
			y[i] = min(max(v, 0), 6)
		}
	case HardSwish:
		for i, v := range x {
			y[i] = float32(v*min(max(v+3, 0), 6)) * sixth
		}
	case HardSigmoid:
		for i, v := range x {
			y[i] = min(max(v+3, 0), 6) * sixth
		}
	default:
		copy(y, x)
	}
}

// activateBackwardGeneric computes dx = dy * act'(x). The slices have the same length; dx may be one of the others.
func activateBackwardGeneric(act Activation, x, dy, dx []float32) {
	dy, dx = dy[:len(x)], dx[:len(x)]
	switch act {
	case ReLU:
		for i, v := range x {
			d := dy[i]
			if !(v > 0) {
				d = 0
			}
			dx[i] = d
		}
	case ReLU6:
		for i, v := range x {
			d := dy[i]
			if !(v > 0 && v < 6) {
				d = 0
			}
			dx[i] = d
		}
	case HardSwish:
		for i, v := range x {
			d := dy[i]
			switch {
			case v < -3:
				d = 0
			case !(v > 3):
				d *= float32(v*third) + 0.5
			}
			dx[i] = d
		}
	case HardSigmoid:
		for i, v := range x {
			d := dy[i] * sixth
			if !(v > -3 && v < 3) {
				d = 0
			}
			dx[i] = d
		}
	default:
		copy(dx, dy)
	}
}
