package kernel_test

import (
	"fmt"
	"testing"

	"pupil/internal/kernel"
)

// inverted is an inverted residual block of MobileNetV2 in training: expansion, depthwise convolution, projection, each
// with its batch norm. Index 0 is the block's input.
type inverted struct {
	conv    [4]kernel.Conv
	act     [4]kernel.Activation
	w, dw   [4][]float32
	z, y, d [4][]float32 // convolutions' outputs, norms' outputs, gradients
	param   [4][7][]float32
	m       [4]kernel.Moments
	n       [4]kernel.Norm
	s       kernel.NormGradient
	ws      *kernel.Workspace
}

func newInverted(batch, size, channels, hidden int, d [4][]float32, ws *kernel.Workspace) *inverted {
	b := &inverted{ws: ws, d: d}
	g := kernel.Conv{N: batch, H: size, W: size, C: channels, K: hidden, R: 1, S: 1, Stride: 1}
	b.conv[1], b.act[1], b.act[2] = g, kernel.ReLU6, kernel.ReLU6
	g.C, g.R, g.S, g.Pad = hidden, 3, 3, 1
	b.conv[2] = g
	g.K, g.R, g.S, g.Pad = channels, 1, 1, 0
	b.conv[3] = g
	pixels := batch * size * size
	b.y[0] = values(pixels*channels, 1)
	for i := 1; i < 4; i++ {
		g := b.conv[i]
		taps := g.R * g.S * g.C * g.K
		if i == 2 {
			taps /= g.K
		}
		b.w[i], b.dw[i] = values(taps, uint64(i)), make([]float32, taps)
		b.z[i], b.y[i] = make([]float32, pixels*g.K), make([]float32, pixels*g.K)
		for j := range b.param[i] {
			b.param[i][j] = values(g.K, uint64(i), uint64(j))
		}
	}
	return b
}

// apart runs each layer through memory.
func (b *inverted) apart() {
	for i := 1; i < 4; i++ {
		g, p := b.conv[i], &b.param[i]
		if i == 2 {
			kernel.DepthwiseForward(g, b.y[i-1], b.w[i], b.z[i], b.ws)
		} else {
			kernel.ConvForward(g, b.y[i-1], b.w[i], b.z[i], b.ws)
		}
		kernel.BatchNormForward(len(b.z[i])/g.K, g.K, b.z[i], p[0], p[1], 1e-5, b.act[i], b.y[i], p[2], p[3], p[4])
	}
}

func (b *inverted) apartBackward() {
	for i := 3; i > 0; i-- {
		g, p, d := b.conv[i], &b.param[i], b.d[i]
		kernel.BatchNormBackward(len(d)/g.K, g.K, b.z[i], d, p[0], p[1], p[2], p[3], b.act[i], d, p[5], p[6])
		if i == 2 {
			kernel.DepthwiseBackwardWeights(g, b.y[i-1], d, b.dw[i], b.ws)
			kernel.DepthwiseBackwardData(g, d, b.w[i], b.d[i-1], b.ws)
		} else {
			kernel.ConvBackwardWeights(g, b.y[i-1], d, b.dw[i], b.ws)
			kernel.ConvBackwardData(g, d, b.w[i], b.d[i-1], b.ws)
		}
	}
}

// fused applies norms as convolutions read; only the last one's output lies in memory.
func (b *inverted) fused() {
	x, in := b.y[0], (*kernel.Norm)(nil)
	for i := 1; i < 4; i++ {
		g, p := b.conv[i], &b.param[i]
		if i == 2 {
			kernel.DepthwiseForwardNorm(g, x, in, b.w[i], b.z[i], &b.m[i], b.ws)
		} else {
			kernel.ConvForwardNorm(g, x, in, b.w[i], b.z[i], &b.m[i], b.ws)
		}
		b.m[i].Norm(p[0], p[1], 1e-5, b.act[i], p[2], p[3], p[4], &b.n[i])
		x, in = b.z[i], &b.n[i]
	}
	b.n[3].Apply(b.z[3], b.y[3])
}

func (b *inverted) fusedBackward() {
	g, p, d := b.conv[3], &b.param[3], b.d[3]
	kernel.BatchNormBackward(len(d)/g.K, g.K, b.z[3], d, p[0], p[1], p[2], p[3], b.act[3], d, p[5], p[6])
	kernel.ConvBackwardWeightsNorm(g, b.z[2], &b.n[2], d, b.dw[3], b.ws)
	kernel.ConvBackwardDataNorm(g, d, b.w[3], &b.n[2], b.z[2], b.d[2], &b.s, b.ws)
	g, p, d = b.conv[2], &b.param[2], b.d[2]
	kernel.BatchNormBackwardGathered(&b.s, p[3], d, p[5], p[6])
	kernel.DepthwiseBackwardWeightsNorm(g, b.z[1], &b.n[1], d, b.dw[2], b.ws)
	kernel.DepthwiseBackwardDataNorm(g, d, b.w[2], &b.n[1], b.z[1], b.d[1], &b.s, b.ws)
	g, p, d = b.conv[1], &b.param[1], b.d[1]
	kernel.BatchNormBackwardGathered(&b.s, p[3], d, p[5], p[6])
	kernel.ConvBackwardWeights(g, b.y[0], d, b.dw[1], b.ws)
	kernel.ConvBackwardData(g, d, b.w[1], b.d[0], b.ws)
}

// BenchmarkInverted trains a chain of blocks, as long as a network so that a block's tensors are not in a cache when the
// backward pass comes to them.
func BenchmarkInverted(b *testing.B) {
	for _, s := range [][4]int{{16, 28, 16, 96}, {8, 32, 8, 48}, {16, 7, 32, 192}} {
		var ws kernel.Workspace
		pixels := s[0] * s[1] * s[1]
		d := [4][]float32{values(pixels * s[2]), values(pixels * s[3]), values(pixels * s[3]), values(pixels * s[2])}
		var chain []*inverted
		for range 8 {
			chain = append(chain, newInverted(s[0], s[1], s[2], s[3], d, &ws))
		}
		for _, way := range []struct {
			name              string
			forward, backward func(*inverted)
		}{
			{"apart", (*inverted).apart, (*inverted).apartBackward},
			{"fused", (*inverted).fused, (*inverted).fusedBackward},
			{"apart-forward", (*inverted).apart, func(*inverted) {}},
			{"fused-forward", (*inverted).fused, func(*inverted) {}},
		} {
			b.Run(fmt.Sprintf("%dx%dx%d_%dto%d/%s", s[0], s[1], s[1], s[2], s[3], way.name), func(b *testing.B) {
				both(b, func(b *testing.B) {
					rate(b, 0, 4*pixels*(2*s[2]+4*s[3])*len(chain), func() {
						for _, block := range chain {
							way.forward(block)
						}
						for i := len(chain) - 1; i >= 0; i-- {
							way.backward(chain[i])
						}
					})
				})
			})
		}
	}
}
