package kernel

import "fmt"

// Backward is the backward pass of a convolution between two batch norms, which goes over the tensors once: what is read
// for the weight gradient is read for the data gradient too.
type Backward struct {
	After *NormGradient // of the norm behind the convolution, finished: it gives the gradient of the convolution's output

	X  []float32 // the convolution's input, or what the norm before gave it of
	In *Norm     // that is applied to X; nil: none

	W []float32
	// DX is overwritten by the gradient of the convolution's input, with S of what In gives to its activation. Where it has
	// the shape of the output (at stride 1), it may take the place of the dz of After, or of what that norm was given.
	DX []float32
	S  *NormGradient // overwritten by the sums of In; nil: they are not wanted
	DW []float32     // overwritten
}

// Fused tells whether ConvBackward, or DepthwiseBackward, can do with the geometry. Others need the gradient of the
// convolution's output in memory.
func (g Conv) Fused(depthwise bool) bool {
	if depthwise {
		return g.banded()
	}
	return g.Pointwise()
}

func (b *Backward) check(function string, g Conv, depthwise bool) {
	if !g.Fused(depthwise) || b.After.c != g.K || b.S != nil && b.In == nil {
		panic(fmt.Sprintf("kernel: %s: not for the geometry %+v with a norm of %d channels", function, g, b.After.c))
	}
	b.In.check(function, g.C)
	oh, ow := g.Out()
	if len(b.After.dz) != g.N*oh*ow*g.K {
		panic(fmt.Sprintf("kernel: %s: the gradient has %d values, its shape needs %d", function, len(b.After.dz), g.N*oh*ow*g.K))
	}
	pixels := g.N * g.H * g.W
	checkLen(function, "DX", len(b.DX), pixels*g.C)
	if b.S != nil {
		b.S.begin(function, b.In, pixels, g.C, b.X, b.DX)
	}
}

// ConvBackward computes, of a pointwise convolution, what ConvBackwardWeightsNorm and ConvBackwardDataNorm (or
// ConvBackwardData) do.
func ConvBackward(g Conv, b *Backward, ws *Workspace) {
	const function = "ConvBackward"
	b.check(function, g, false)
	pixels := g.N * g.H * g.W
	checkLen(function, "X", len(b.X), pixels*g.C)
	checkLen(function, "W", len(b.W), g.C*g.K)
	checkLen(function, "DW", len(b.DW), g.C*g.K)
	if pixels == 0 {
		clear(b.DW[:g.C*g.K])
		return
	}
	taps := append(grow(&ws.taps, 1)[:0], tap{})
	data := matrix(pixels, g.K, g.K, g.C, taps)
	panels := grow(&ws.filters, (g.C+tileCols-1)/tileCols*tileCols*g.K)
	right{values: b.W, ld: g.K, transposed: true}.pack(taps, g.K, 0, g.C, panels)
	rows := 0
	for first := 0; first < pixels; first += pixelBlock {
		if n := min(pixelBlock, pixels-first); n != rows {
			rows = n
			data.images = rows
			data.table(block{rows, 0, rows}, ws)
			ws.swapTables()
		}
		b.rows(g, first, rows, panels, &data, ws)
	}
}

// coming is what will be read for some pixels, and written: a line of the cache is read before its values are.
func (b *Backward) coming(g Conv, first, rows int) [4][]float32 {
	rows = max(min(rows, g.N*g.H*g.W-first), 0)
	return [4][]float32{
		b.After.dz[first*g.K:][:rows*g.K], b.After.x[first*g.K:][:rows*g.K], b.X[first*g.C:][:rows*g.C],
		b.DX[first*g.C:][:rows*g.C],
	}
}

// swapTables puts the tables of a second product aside, or back.
func (ws *Workspace) swapTables() {
	ws.offsets, ws.otherOffsets = ws.otherOffsets, ws.offsets
	ws.outputs, ws.otherOutputs = ws.otherOutputs, ws.outputs
}

// rows goes over some pixels, which stay in a near cache meanwhile.
func (b *Backward) rows(g Conv, first, rows int, panels []float32, data *lattice, ws *Workspace) {
	dy := grow(&ws.gradient, rows*g.K)
	b.After.rows(first, rows, dy)
	x := b.X[first*g.C:][:rows*g.C]
	if b.In != nil {
		x = b.In.block(x, ws)
	}
	offsets := grow(&ws.offsets, rows)
	for i := range offsets {
		offsets[i] = i * g.C
	}
	ws.ahead = b.coming(g, first+rows, rows)
	transposedLeft{x, offsets, g.C}.multiply(right{values: dy, ld: g.K}, g.K, first > 0, b.DW, g.K, ws)
	ws.swapTables()
	data.pass(block{rows, 0, rows}, 0, g.C, dy, panels, follow{}, b.DX, first*g.C, ws)
	ws.swapTables()
	ws.ahead = [4][]float32{}
	if b.S != nil {
		b.S.add(first, rows)
	}
}

// DepthwiseBackward computes, of a depthwise convolution behind a norm, what DepthwiseBackwardWeightsNorm and
// DepthwiseBackwardDataNorm do.
func DepthwiseBackward(g Conv, b *Backward, ws *Workspace) {
	const function = "DepthwiseBackward"
	if b.In == nil || b.S == nil {
		panic("kernel: " + function + ": it is for a convolution behind a norm")
	}
	b.check(function, g, true)
	checkLen(function, "W", len(b.W), 9*g.C)
	checkLen(function, "DW", len(b.DW), 9*g.C)
	p := g.newBandBackward(b, ws)
	for n := range g.N {
		p.image(n, ws)
	}
	for t := range 9 {
		for c := 0; c < g.C; c += bandLanes {
			*eightAt(b.DW, t*g.C+c) = *eightAt(p.total, 9*c+t*bandLanes)
		}
	}
}

// bandBackward is DepthwiseBackward by bands: of the input behind its norm, and of the gradient of the output.
type bandBackward struct {
	g           Conv
	b           *Backward
	in, out     band
	filters     []float32 // for the data gradient
	sums, total []float32 // of the weight gradient, of an image and of all, [C/8][3][3][8]
}

func (g Conv) newBandBackward(b *Backward, ws *Workspace) bandBackward {
	oh, ow := g.Out()
	rows := g.bandRows()
	p := bandBackward{
		g: g, b: b, filters: grow(&ws.panels, 9*g.C), sums: grow(&ws.sums, 9*g.C), total: grow(&ws.gathered, 9*g.C),
		in: newBand(&ws.normed, (rows-1)*g.Stride+3, g.H, g.W, g.C), out: newBand(&ws.gradient, rows+2, oh, ow, g.C),
	}
	filterBlocks(g.C, b.W, g.Stride == 1, p.filters)
	clear(p.total)
	return p
}

// image goes over an image, by a few rows of the output's gradient at a time.
func (p *bandBackward) image(n int, ws *Workspace) {
	oh, ow := p.g.Out()
	rows, c := p.g.bandRows(), p.g.C
	p.in.laid, p.out.laid = 0, 0
	clear(p.sums)
	x := p.b.X[n*p.g.H*p.g.W*c:][:p.g.H*p.g.W*c]
	done := 0 // rows of the data gradient
	for o := 0; o < oh; o += rows {
		count := min(rows, oh-o)
		p.in.layNorm((o+count-1)*p.g.Stride+2, x, p.b.In)
		p.out.layGradient(o+count, n*oh*ow, p.b.After)
		dyRows := grow(&ws.outputs, count)
		for i := range dyRows {
			dyRows[i] = p.out.at(o+i) + bandLanes
		}
		depthwiseBandSums(c/bandLanes, count, ow, p.in.values, p.g.inputTable(&p.in, o, count, ws), p.in.block, p.g.Stride,
			p.out.values, dyRows, p.out.block, p.sums, p.in.next(p.b.X, n*p.g.H*p.g.W, rows*p.g.Stride))
		to := (o+count-1)*p.g.Stride + p.g.Stride - 1 // rows that need no later gradient
		if o+count == oh {
			to = p.g.H
		}
		if to > done {
			p.dataRows(n, done, to, ws)
		}
		done = max(done, to)
	}
	add(p.sums, p.total, p.total)
}

// dataRows computes rows first..to of the data gradient of image n.
func (p *bandBackward) dataRows(n, first, to int, ws *Workspace) {
	c, rows, at := p.g.C, to-first, (n*p.g.H+first)*p.g.W*p.g.C
	pixel, coming := n*p.out.rows*p.out.cols, p.g.bandRows()
	dz, x := p.out.next(p.b.After.dz, pixel, coming), p.out.next(p.b.After.x, pixel, coming)
	if p.g.Stride == 1 {
		table := grow(&ws.offsets, 3*rows)
		for i := range table {
			table[i] = p.out.at(first + i/3 + i%3 - 1)
		}
		depthwiseBand(c/bandLanes, rows, p.g.W, p.out.values, table, p.out.block, 1, p.filters, p.b.DX[at:], p.g.W*c, c, dz, x)
	} else {
		table := grow(&ws.offsets, 2*rows)
		for i := range rows {
			h := first + i
			table[2*i], table[2*i+1] = p.out.at(h/2)+bandLanes, -1
			if h%2 == 1 {
				table[2*i+1] = p.out.at(h/2+1) + bandLanes
			}
		}
		depthwiseBandSpread(c/bandLanes, rows, p.g.W, p.out.values, table, p.out.block, p.filters, p.b.DX[at:], p.g.W*c, c, dz, x)
	}
	p.b.S.upTo((n*p.g.H + to) * p.g.W)
}
