package kernel

import "fmt"

// Activation is a function of one value that follows a layer.
type Activation uint8

// The activations, with the derivatives that PyTorch uses where they have a kink.
const (
	Identity    Activation = iota // v
	ReLU                          // max(v, 0); derivative 1 for v > 0
	ReLU6                         // min(max(v, 0), 6); derivative 1 for 0 < v < 6
	HardSwish                     // v * ReLU6(v+3) / 6; derivative 0 for v < -3, v/3 + 1/2 for v <= 3, else 1
	HardSigmoid                   // ReLU6(v+3) / 6; derivative 1/6 for -3 < v < 3
	activations
)

var activationNames = [activations]string{"Identity", "ReLU", "ReLU6", "HardSwish", "HardSigmoid"}

// String returns the activation's name.
func (a Activation) String() string {
	if a < activations {
		return activationNames[a]
	}
	return fmt.Sprintf("Activation(%d)", uint8(a))
}

func (a Activation) check(function string) {
	if a >= activations {
		panic("kernel: " + function + ": unknown " + a.String())
	}
}

// ActForward computes y = act(x) for the values of x. y may be x.
func ActForward(act Activation, x, y []float32) {
	act.check("ActForward")
	checkLen("ActForward", "y", len(y), len(x))
	activate(act, x, y[:len(x)])
}

// ActBackward computes dx = dy * act'(x), where x is what the activation was given. dx may be dy or x.
func ActBackward(act Activation, x, dy, dx []float32) {
	act.check("ActBackward")
	checkLen("ActBackward", "dy", len(dy), len(x))
	checkLen("ActBackward", "dx", len(dx), len(x))
	activateBackward(act, x, dy[:len(x)], dx[:len(x)])
}
