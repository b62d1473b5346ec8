package augment

import "math"

// unit is x/255 for each 8-bit x: the same float32 as a division gives, and faster.
var unit = func() (u [256]float32) {
	for i := range u {
		u[i] = float32(i) / 255
	}
	return u
}()

// resize writes part r of img, changed to [size, size], to dst [size, size, img.Channels], with values in [0, 1].
//
// It is PIL's bilinear resize: two passes, columns and then rows, each with a triangle filter that is widened by the
// factor of the reduction (antialiasing). Pixels outside of r do not count. Weights are computed in float64 and rounded
// once, sums are float32 in the order of the pixels.
func resize(dst []float32, size int, img *Image, r rectangle, s *scratch) {
	c := img.Channels
	row := size * c
	narrow := dst
	if r.height != size {
		s.narrow = grow(s.narrow, r.height*row)
		narrow = s.narrow
	}
	s.columns.compute(r.width, size)
	for y := range r.height {
		src := img.Pix[((r.y+y)*img.Width+r.x)*c:][:r.width*c]
		out := narrow[y*row:][:row]
		switch {
		case r.width == size:
			for i, p := range src {
				out[i] = unit[p]
			}
		case c == 1:
			s.columns.grey(out, src)
		default:
			s.columns.rgb(out, src)
		}
	}
	if r.height == size {
		return
	}
	s.rows.compute(r.height, size)
	for y := range size {
		weights := s.rows.of(y)
		src := narrow[int(s.rows.first[y])*row:]
		combine(dst[y*row:][:row], src, weights)
	}
}

// taps are the weights of a change from one length to another: output i is the sum of weights[i*stride+k] times input
// first[i]+k for k < count[i].
type taps struct {
	from, to     int
	stride       int
	first, count []int32
	weights      []float32
	exact        []float64 // the weights of one output before they are rounded
}

func (t *taps) of(i int) []float32 { return t.weights[i*t.stride:][:t.count[i]] }

// compute fills in the taps. With scale = from/to and width = max(scale, 1), output i has its centre at (i+1/2) scale,
// and the input j, whose centre is j+1/2, has the weight max(0, 1 - |j + 1/2 - centre| / width), over the sum of all.
func (t *taps) compute(from, to int) {
	if t.from == from && t.to == to {
		return
	}
	t.from, t.to = from, to
	scale := float64(from) / float64(to)
	width := max(scale, 1)
	t.stride = min(int(math.Ceil(width))*2+1, from)
	t.first, t.count = grow(t.first, to), grow(t.count, to)
	t.weights, t.exact = grow(t.weights, to*t.stride), grow(t.exact, t.stride)
	for i := range to {
		centre := float64((float64(i) + 0.5) * scale)
		first := max(int(centre-width+0.5), 0)
		last := min(int(centre+width+0.5), from) // one past the end
		sum := 0.0
		for k := range last - first {
			w := max(0, 1-math.Abs((float64(first+k)+0.5-centre)/width))
			t.exact[k] = w
			sum += w
		}
		t.first[i], t.count[i] = int32(first), int32(last-first)
		for k, w := range t.exact[:last-first] {
			t.weights[i*t.stride+k] = float32(w / sum)
		}
	}
}

// grey writes one row of one channel.
func (t *taps) grey(out []float32, src []uint8) {
	for i := range out {
		weights := t.of(i)
		from := src[t.first[i]:][:len(weights)]
		var sum float32
		for k, w := range weights {
			sum += float32(w * unit[from[k]])
		}
		out[i] = sum
	}
}

// rgb writes one row of three channels.
func (t *taps) rgb(out []float32, src []uint8) {
	for i := 0; len(out) >= 3; i++ {
		weights := t.of(i)
		from := src[3*t.first[i]:][:3*len(weights)]
		var r, g, b float32
		for _, w := range weights {
			r += float32(w * unit[from[0]])
			g += float32(w * unit[from[1]])
			b += float32(w * unit[from[2]])
			from = from[3:]
		}
		out[0], out[1], out[2] = r, g, b
		out = out[3:]
	}
}

// combine writes out = sum_k weights[k] * row k of src, whose rows have out's length. It takes up to four rows at a
// time, so that out is read and written less often; the order of the sum is that of the rows.
func combine(out, src []float32, weights []float32) {
	n := len(out)
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
