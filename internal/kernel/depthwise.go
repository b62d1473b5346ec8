package kernel

import "fmt"

// A depthwise convolution is computed as runs: a row of neighbouring output pixels that meet the same filter taps. At
// the borders of an image runs are short and have fewer taps. Filters are cut into pieces of at most maxTaps x maxTaps
// taps, whose weights a kernel can hold in registers.
const maxTaps = 3

func (g Conv) checkDepthwise(function, in, filter, out string, x, w, y []float32) {
	g.check(function)
	if g.K != g.C {
		panic(fmt.Sprintf("kernel: %s: %d output channels for %d input channels", function, g.K, g.C))
	}
	h, v := g.Out()
	checkLen(function, in, len(x), g.N*g.H*g.W*g.C)
	checkLen(function, filter, len(w), g.R*g.S*g.C)
	checkLen(function, out, len(y), g.N*h*v*g.C)
}

// DepthwiseForward convolves each channel of images x [N, H, W, C] with its own filter w [R, S, C], and overwrites y
// [N, OH, OW, C]:
//
//	y[n, i, j, c] = sum_rs x[n, i*Stride+r-Pad, j*Stride+s-Pad, c] * w[r, s, c]
//
// Pixels outside of the image are 0. g.K equals g.C.
func DepthwiseForward(g Conv, x, w, y []float32, ws *Workspace) {
	g.checkDepthwise("DepthwiseForward", "x", "w", "y", x, w, y)
	d := g.depthwise()
	d.run(x, w, y, nil, ws)
}

// DepthwiseForwardThen is DepthwiseForward followed by y = act(y + shift), with shift [C] or nil, which runs over each
// row of an output image while it is in the nearest cache.
func DepthwiseForwardThen(g Conv, x, w, shift []float32, act Activation, y []float32, ws *Workspace) {
	const function = "DepthwiseForwardThen"
	g.checkDepthwise(function, "x", "w", "y", x, w, y)
	Epilogue{Shift: shift, Act: act}.check(function, g.C, 0)
	d := g.depthwise()
	if shift == nil && act == Identity {
		d.run(x, w, y, nil, ws)
		return
	}
	strips := grow(&ws.strips, (g.C+stripWidth-1)/stripWidth)
	clear(strips)
	for c := range g.C {
		s, i := of(strips, c)
		s.scale[i] = 1
		if shift != nil {
			s.shift[i] = shift[c]
		}
	}
	d.run(x, w, y, func(pixel int) {
		row := y[pixel*g.C:][:d.outCols*g.C]
		scaleShift(d.outCols, g.C, g.C, row, strips, act, row)
	}, ws)
}

func (g Conv) depthwise() depthwise {
	oh, ow := g.Out()
	return depthwise{
		images: g.N, channels: g.C, inRows: g.H, inCols: g.W, outRows: oh, outCols: ow, filterCols: g.S,
		rows: forwardAxis(g.H, g.R, g.Stride, g.Pad), cols: forwardAxis(g.W, g.S, g.Stride, g.Pad),
	}
}

// DepthwiseBackwardData overwrites dx [N, H, W, C] by the gradient of DepthwiseForward with respect to x, from the
// gradient dy [N, OH, OW, C] of its output and the filters w [R, S, C]:
//
//	dx[n, h, v, c] = sum_rs dy[n, i, j, c] * w[r, s, c]   over i*Stride+r-Pad = h, j*Stride+s-Pad = v
func DepthwiseBackwardData(g Conv, dy, w, dx []float32, ws *Workspace) {
	g.checkDepthwise("DepthwiseBackwardData", "dx", "w", "dy", dx, w, dy)
	d := g.depthwiseBackward()
	d.run(dy, w, dx, nil, ws)
}

func (g Conv) depthwiseBackward() depthwise {
	oh, ow := g.Out()
	return depthwise{
		images: g.N, channels: g.C, inRows: oh, inCols: ow, outRows: g.H, outCols: g.W, filterCols: g.S,
		rows: backwardAxis(oh, g.R, g.Stride, g.Pad), cols: backwardAxis(ow, g.S, g.Stride, g.Pad),
	}
}

// DepthwiseBackwardWeights overwrites dw [R, S, C] by the gradient of DepthwiseForward with respect to w, from the
// images x [N, H, W, C] and the gradient dy [N, OH, OW, C] of its output:
//
//	dw[r, s, c] = sum_nij x[n, i*Stride+r-Pad, j*Stride+s-Pad, c] * dy[n, i, j, c]
//
// Each image is summed by itself.
func DepthwiseBackwardWeights(g Conv, x, dy, dw []float32, ws *Workspace) {
	g.checkDepthwise("DepthwiseBackwardWeights", "x", "dw", "dy", x, dw, dy)
	d := g.depthwise()
	n := g.R * g.S * g.C
	d.gradient(x, dy, dw[:n], grow(&ws.sums, n), ws)
}

// depthwise is a convolution of maps of inRows x inCols pixels that gives outRows x outCols.
type depthwise struct {
	images, channels                 int
	inRows, inCols, outRows, outCols int
	filterCols                       int
	rows, cols                       axis
	in                               *Norm // of the input, or nil
}

// ready returns the input image, up to the row before `to` with the norm applied, in a copy of which `done` rows are
// ready, and how many are then.
func (d *depthwise) ready(image []float32, done, to int, ws *Workspace) ([]float32, int) {
	if d.in == nil {
		return image, 0
	}
	row := d.inCols * d.channels
	copied := grow(&ws.normed, len(image))
	if to <= done {
		return copied, done
	}
	to = min(max(to, done+momentsRows/d.inCols), d.inRows) // a few pixels are not worth a call
	d.in.Apply(image[done*row:to*row], copied[done*row:])
	return copied, to
}

// axis is one dimension of a depthwise convolution, or of its transpose. Output o meets the taps that span gives.
type axis struct {
	in, taps, stride, pad int
	transpose             bool
}

func forwardAxis(in, taps, stride, pad int) axis  { return axis{in, taps, stride, pad, false} }
func backwardAxis(in, taps, stride, pad int) axis { return axis{in, taps, stride, pad, true} }

// span returns the inputs in, in+1 ... of output o, n of them, and the taps that they meet: tap, tap+a.tapStep() ...
func (a axis) span(o int) (in, tap, n int) {
	if a.transpose {
		in = max(0, (o+a.pad-a.taps+a.stride)/a.stride) // the first with o + pad - in*stride < taps
		last := min(a.in-1, (o+a.pad)/a.stride)
		return in, o + a.pad - in*a.stride, last - in + 1
	}
	tap = max(0, a.pad-o*a.stride)
	n = min(a.taps, a.in+a.pad-o*a.stride) - tap
	return o*a.stride - a.pad + tap, tap, n
}

func (a axis) tapStep() int {
	if a.transpose {
		return -a.stride
	}
	return 1
}

// classes is how many sets of outputs there are that meet the same taps (with a transpose: one for each o % stride),
// and inStep the inputs from an output to the next of its class.
func (a axis) classes() int {
	if a.transpose {
		return a.stride
	}
	return 1
}

func (a axis) inStep() int {
	if a.transpose {
		return 1
	}
	return a.stride
}

// run is a number of outputs of one class that meet the same taps: out, out+classes ...
type run struct {
	out, count    int
	in, tap, taps int
}

// split cuts n outputs of an axis into runs.
func (a axis) split(n int, ws *Workspace) []run {
	runs := ws.runs[:0]
	for class := range min(a.classes(), n) {
		for o := class; o < n; o += a.classes() {
			in, tap, taps := a.span(o)
			taps = max(taps, 0)
			if len(runs) > 0 {
				r := &runs[len(runs)-1]
				if r.out%a.classes() == class && r.taps == taps &&
					(taps == 0 || r.tap == tap && r.in+r.count*a.inStep() == in) {
					r.count++
					continue
				}
			}
			runs = append(runs, run{o, 1, in, tap, taps})
		}
	}
	ws.runs = runs
	return runs
}

// run computes y from x, and calls then with the first pixel of each row of it.
func (d *depthwise) run(x, w, y []float32, then func(pixel int), ws *Workspace) {
	c := d.channels
	runs := d.cols.split(d.outCols, ws)
	yStep, xStep := d.cols.classes()*c, d.cols.inStep()*c
	wRow, wCol := d.rows.tapStep()*d.filterCols*c, d.cols.tapStep()*c
	for n := range d.images {
		image, done := x[n*d.inRows*d.inCols*c:][:d.inRows*d.inCols*c], 0
		for o := range d.outRows {
			in, tap, taps := d.rows.span(o)
			var src []float32
			src, done = d.ready(image, done, in+taps, ws)
			row := y[(n*d.outRows+o)*d.outCols*c:][:d.outCols*c]
			for _, r := range runs {
				dst := row[r.out*c:]
				if taps <= 0 || r.taps == 0 {
					for i := range r.count {
						clear(dst[i*yStep:][:c])
					}
					continue
				}
				for a := 0; a < taps; a += maxTaps {
					for b := 0; b < r.taps; b += maxTaps {
						depthwiseRun(min(maxTaps, taps-a), min(maxTaps, r.taps-b), c, r.count,
							src, ((in+a)*d.inCols+r.in+b)*c, d.inCols*c, xStep,
							w, (tap*d.filterCols+r.tap)*c+a*wRow+b*wCol, wRow, wCol, dst, yStep, a+b > 0)
					}
				}
			}
			if then != nil {
				then((n*d.outRows + o) * d.outCols)
			}
		}
	}
}

// gradient computes dw from x and dy, with sums [len(dw)] for one image at a time.
func (d *depthwise) gradient(x, dy, dw, sums []float32, ws *Workspace) {
	c := d.channels
	clear(dw)
	runs := d.cols.split(d.outCols, ws)
	xStep := d.cols.inStep() * c
	for n := range d.images {
		clear(sums)
		image, done := x[n*d.inRows*d.inCols*c:][:d.inRows*d.inCols*c], 0
		for o := range d.outRows {
			in, tap, taps := d.rows.span(o)
			var src []float32
			src, done = d.ready(image, done, in+taps, ws)
			row := dy[(n*d.outRows+o)*d.outCols*c:][:d.outCols*c]
			for _, r := range runs {
				for a := 0; a < taps; a += maxTaps {
					for b := 0; b < r.taps; b += maxTaps {
						depthwiseSums(min(maxTaps, taps-a), min(maxTaps, r.taps-b), c, r.count,
							src, ((in+a)*d.inCols+r.in+b)*c, d.inCols*c, xStep, row[r.out*c:],
							sums, ((tap+a)*d.filterCols+r.tap+b)*c, d.filterCols*c)
					}
				}
			}
		}
		add(sums, dw, dw)
	}
}
