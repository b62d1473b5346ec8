package augment

import "math"

// unit is x/255 for each 8-bit x: the same float32 as a division gives, and faster.
var unit = func() (u [256]float32) {
	for i := range u {
		u[i] = float32(i) / 255
	}
	return u
}()

// resize writes part r of img, changed to [size, size] and with mirror flipped horizontally, to dst [size, size,
// img.Channels], with values in [0, 1] that go through last.
//
// It is PIL's bilinear resize: two passes, columns and then rows, each with a triangle filter that is widened by the
// factor of the reduction (antialiasing). Pixels outside of r do not count. What is between the passes is rounded to 8
// bits, as PIL does; what comes out is not. Weights are computed in float64 and rounded once, sums are in the order of
// the pixels: of integers in the first pass, which is PIL's to the bit, and of float32 in the second.
//
// The columns of a row are made when the first row of the view asks for them, so that they are still in the cache.
func resize(dst []float32, size int, img *Image, r rectangle, mirror bool, last finish, s *scratch) {
	c := img.Channels
	row := size * c
	if r.width != size {
		s.columns.compute(r.width, size, mirror)
	}
	if r.height == size {
		for y := range size {
			out := dst[y*row:][:row]
			s.squeeze(out, img, r, y, mirror)
			last.apply(out)
		}
		return
	}
	s.rows.compute(r.height, size, false)
	s.narrow = grow(s.narrow, r.height*row)
	done := 0
	for y := range size {
		weights, first := s.rows.of(y)
		for ; done < first+len(weights); done++ {
			s.squeeze(s.narrow[done*row:][:row], img, r, done, mirror)
		}
		out := dst[y*row:][:row]
		combine(out, s.narrow[first*row:], weights)
		last.apply(out)
	}
}

// squeeze writes row y of part r of img to out [size, channels], with the width changed to size.
func (s *scratch) squeeze(out []float32, img *Image, r rectangle, y int, mirror bool) {
	c := img.Channels
	src := img.Pix[((r.y+y)*img.Width+r.x)*c:][:r.width*c]
	if len(src) == len(out) {
		if mirror {
			mirrored(out, src, c)
			return
		}
		for i, p := range src {
			out[i] = unit[p]
		}
		return
	}
	if c == 1 {
		s.columns.grey(out, src)
	} else {
		s.columns.rgb(out, src)
	}
}

// mirrored writes the pixels of a row in reverse.
func mirrored(out []float32, src []uint8, channels int) {
	for ; len(src) > 0; src = src[channels:] {
		for c := range channels {
			out[len(src)-channels+c] = unit[src[c]]
		}
	}
}

// taps are the weights of a change from one length to another: output i is the sum of weights[i*stride+k] times input
// first[i]+k for k < stride. Every output has stride weights, which makes the loops simple: at the borders some are 0.
type taps struct {
	from, to int
	start, n int  // there are taps of n outputs from number start on
	mirror   bool // the outputs are in reverse
	stride   int
	first    []int32
	weights  []float32
	integers []int32   // the weights as PIL has them for 8 bits: times 1 << digits
	exact    []float64 // the weights of one output before they are rounded
}

// digits is how many binary digits the integer weights have after the point.
const digits = 22

// of returns the weights of output start+i and the first input.
func (t *taps) of(i int) (weights []float32, first int) {
	return t.weights[i*t.stride:][:t.stride], int(t.first[i])
}

// compute fills in the taps. With scale = from/to and width = max(scale, 1), output i has its centre at (i+1/2) scale,
// and the input j, whose centre is j+1/2, has the weight max(0, 1 - |j + 1/2 - centre| / width), over the sum of all.
func (t *taps) compute(from, to int, mirror bool) { t.window(from, to, 0, to, mirror) }

// window fills in the taps of n outputs from number start on.
func (t *taps) window(from, to, start, n int, mirror bool) {
	if t.from == from && t.to == to && t.start == start && t.n == n && t.mirror == mirror {
		return
	}
	t.from, t.to, t.start, t.n, t.mirror = from, to, start, n, mirror
	scale := float64(from) / float64(to)
	width := max(scale, 1)
	t.stride = min(int(math.Ceil(2*width)), from) // an enlargement's triangles are 2 wide
	t.first, t.exact = grow(t.first, n), grow(t.exact, t.stride)
	t.weights, t.integers = grow(t.weights, n*t.stride), grow(t.integers, n*t.stride)
	for i := range n {
		centre := float64((float64(start+i) + 0.5) * scale)
		first := max(int(centre-width+0.5), 0)
		last := min(int(centre+width+0.5), from) // one past the end
		first = max(0, min(first, from-t.stride))
		sum := 0.0
		for k := range t.exact {
			w := 0.0
			if first+k < last {
				w = max(0, 1-math.Abs((float64(first+k)-centre+0.5)/width))
			}
			t.exact[k] = w
			sum += w
		}
		at := i
		if mirror {
			at = n - 1 - i
		}
		t.first[at] = int32(first)
		for k, w := range t.exact {
			t.weights[at*t.stride+k] = float32(w / sum)
			t.integers[at*t.stride+k] = int32(float64(w/sum*(1<<digits)) + 0.5)
		}
	}
}

// grey writes one row of one channel, rounded to 8 bits.
func (t *taps) grey(out []float32, src []uint8) {
	const half = 1 << (digits - 1)
	weights := t.integers
	if t.stride == 2 {
		for i := range out {
			w, from := weights[2*i:][:2], src[t.first[i]:][:2]
			out[i] = unit[uint8((w[0]*int32(from[0])+w[1]*int32(from[1])+half)>>digits)]
		}
		return
	}
	for i := range out {
		from, sum := src[t.first[i]:][:t.stride], int32(half)
		for k, w := range weights[i*t.stride:][:t.stride] {
			sum += w * int32(from[k])
		}
		out[i] = unit[uint8(sum>>digits)]
	}
}

// rgb writes one row of three channels, rounded to 8 bits.
func (t *taps) rgb(out []float32, src []uint8) {
	const half = 1 << (digits - 1)
	weights := t.integers
	if t.stride == 2 {
		for _, first := range t.first[:len(out)/3] {
			from, w0, w1 := src[3*first:][:6], weights[0], weights[1]
			weights = weights[2:]
			out[0] = unit[uint8((w0*int32(from[0])+w1*int32(from[3])+half)>>digits)]
			out[1] = unit[uint8((w0*int32(from[1])+w1*int32(from[4])+half)>>digits)]
			out[2] = unit[uint8((w0*int32(from[2])+w1*int32(from[5])+half)>>digits)]
			out = out[3:]
		}
		return
	}
	for _, first := range t.first[:len(out)/3] {
		from := src[3*first:][:3*t.stride]
		r, g, b := int32(half), int32(half), int32(half)
		for _, w := range weights[:t.stride] {
			r += w * int32(from[0])
			g += w * int32(from[1])
			b += w * int32(from[2])
			from = from[3:]
		}
		weights = weights[t.stride:]
		out[0], out[1], out[2] = unit[uint8(r>>digits)], unit[uint8(g>>digits)], unit[uint8(b>>digits)]
		out = out[3:]
	}
}

// combine writes out = sum_k weights[k] * row k of src, whose rows have out's length. It takes up to four rows at a
// time, so that out is read and written less often; the order of the sum is that of the rows.
func combine(out, src []float32, weights []float32) {
	n := len(out)
	if len(weights) == 2 {
		a, b, wa, wb := src[:n], src[n:][:n], weights[0], weights[1]
		for i := range out {
			out[i] = float32(wa*a[i]) + float32(wb*b[i])
		}
		return
	}
	a := src[:n]
	w := weights[0]
	for i := range out {
		out[i] = w * a[i]
	}
	src, weights = src[n:], weights[1:]
	for len(weights) >= 4 {
		a, b, c, d := src[:n], src[n:][:n], src[2*n:][:n], src[3*n:][:n]
		wa, wb, wc, wd := weights[0], weights[1], weights[2], weights[3]
		for i, v := range out {
			v += float32(wa * a[i])
			v += float32(wb * b[i])
			v += float32(wc * c[i])
			v += float32(wd * d[i])
			out[i] = v
		}
		src, weights = src[4*n:], weights[4:]
	}
	for ; len(weights) > 0; src, weights = src[n:], weights[1:] {
		a, w := src[:n], weights[0]
		for i := range out {
			out[i] += float32(w * a[i])
		}
	}
}

// grow returns a slice of length n, v's memory where that suffices. Its values are not defined.
func grow[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}
