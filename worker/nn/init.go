package nn

import (
	"math"

	"pupil/internal/random"
)

// Init sets the state to torchvision's initialisation: convolutions N(0, 2/(K R S)) (kaiming_normal_, fan out), batch
// norms 1 and 0, running statistics 0 and 1; linear layers N(0, 0.01^2) with zero biases in MobileNets, and uniform
// within 1/sqrt(C) for weights and biases in ResNets. The projection is uniform within 1/sqrt(C) in all of them, the
// default of torch.nn.Linear (kaiming_uniform_ with a = sqrt 5).
//
// Parameter i is drawn from random.New(PurposeInit, seed, i), in the order of torchvision's layout.
func (n *Network) Init(s *State, seed uint64) {
	for i, p := range n.params {
		outside := make([]float32, p.Len)
		p.draw(outside, random.New(random.PurposeInit, seed, uint64(i)))
		p.inward(s.Params[p.Offset:][:p.Len], outside)
	}
	n.resetBuffers(s)
}

func (p param) draw(v []float32, r *random.Stream) {
	switch p.init {
	case initOnes:
		for i := range v {
			v[i] = 1
		}
	case initKaiming:
		deviation := math.Sqrt(2 / float64(p.fan))
		for i := range v {
			v[i] = float32(deviation * r.Normal())
		}
	case initNormal:
		for i := range v {
			v[i] = float32(0.01 * r.Normal())
		}
	case initUniformFan:
		bound := 1 / math.Sqrt(float64(p.fan))
		for i := range v {
			v[i] = float32(r.Uniform(-bound, bound))
		}
	}
}

// inward writes a parameter from torchvision's layout [K, C, R, S] to ours, [R, S, C, K]. The layouts of depthwise
// (C = 1) and linear (R = S = 1) weights are the same two with a dimension of 1.
func (t Tensor) inward(dst, src []float32) {
	if len(t.Shape) == 1 {
		copy(dst, src)
		return
	}
	k, c := t.Shape[0], t.Shape[1]
	taps := t.Len / (k * c)
	for i := range k {
		for j := range c {
			for tap, v := range src[(i*c+j)*taps:][:taps] {
				dst[(tap*c+j)*k+i] = v
			}
		}
	}
}

// outward is the inverse of inward.
func (t Tensor) outward(dst, src []float32) {
	if len(t.Shape) == 1 {
		copy(dst, src)
		return
	}
	k, c := t.Shape[0], t.Shape[1]
	taps := t.Len / (k * c)
	for i := range k {
		for j := range c {
			part := dst[(i*c+j)*taps:][:taps]
			for tap := range part {
				part[tap] = src[(tap*c+j)*k+i]
			}
		}
	}
}
