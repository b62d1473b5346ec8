package kernel

import "fmt"

// Packed is a right matrix [k, n] arranged for the micro-kernel: the filters of a frozen convolution, or the weights of
// a linear layer. It is made once, read by any number of products, and not changed afterwards.
type Packed struct {
	k, n     int
	panels   []float32 // [n/16][k][16], with zeros behind the last column
	winograd int       // the stride for which PackWinograd made it, one such matrix for each value of a tile; or 0
}

// Pack arranges a matrix b [k, n], whose rows lie ldb values apart.
func Pack(k, n int, b []float32, ldb int) *Packed {
	if k < 1 || n < 1 || ldb < n {
		panic(fmt.Sprintf("kernel: Pack: impossible matrix of %d x %d in rows of %d", k, n, ldb))
	}
	checkLen("Pack", "b", len(b), (k-1)*ldb+n)
	p := &Packed{k: k, n: n, panels: make([]float32, PackedLen(k, n))}
	right{values: b, ld: ldb}.pack([]tap{{}}, k, 0, n, p.panels)
	return p
}

// PackedLen is how many values Pack keeps of a matrix [k, n].
func PackedLen(k, n int) int { return (n + tileCols - 1) / tileCols * tileCols * k }

// PackConv arranges the filters w [R, S, C, K] of a convolution. See also PackWinograd.
func PackConv(g Conv, w []float32) *Packed {
	g.check("PackConv")
	checkLen("PackConv", "w", len(w), g.R*g.S*g.C*g.K)
	return Pack(g.R*g.S*g.C, g.K, w, g.K)
}

// Epilogue is what follows a product, value by value, before it is written for the first time:
//
//	y = act(product + Shift + Residual)
//
// with Shift [K], one value a channel, and Residual of the shape and stride of y, which it may be. Both may be nil.
type Epilogue struct {
	Shift, Residual []float32
	Act             Activation
}

// follow is an Epilogue whose shift is filled up to whole tiles, or a function that is called when some of the product's
// rows are there: the first one's number and how many, about `rows` at a time. in is a norm of the left matrix, a plain
// one, or nil.
type follow struct {
	in         *Norm
	shift, old []float32
	act        Activation
	rows       int
	then       func(first, rows int)
}

func (e Epilogue) check(function string, channels, length int) {
	e.Act.check(function)
	if e.Shift != nil {
		checkLen(function, "Shift", len(e.Shift), channels)
	}
	if e.Residual != nil {
		checkLen(function, "Residual", len(e.Residual), length)
	}
}

func (e Epilogue) follow(channels int, ws *Workspace) follow {
	f := follow{old: e.Residual, act: e.Act}
	if e.Shift != nil {
		f.shift = grow(&ws.shift, (channels+tileCols-1)/tileCols*tileCols)
		clear(f.shift[copy(f.shift, e.Shift[:channels]):])
	}
	return f
}

// GemmPacked computes the product of a [m, k] and b [k, n] with its epilogue into c [m, n]. Rows of a lie lda values
// apart, those of c (and of the epilogue's residual) ldc. The sum over k starts with the shift and is not blocked; it
// does not depend on m and n. c does not overlap a.
func GemmPacked(m int, a []float32, lda int, b *Packed, e Epilogue, c []float32, ldc int, ws *Workspace) {
	const function = "GemmPacked"
	if m < 0 || lda < b.k || ldc < b.n || b.winograd != 0 {
		panic(fmt.Sprintf("kernel: %s: impossible shape: m %d, k %d in rows of %d, n %d in rows of %d",
			function, m, b.k, lda, b.n, ldc))
	}
	if m == 0 {
		return
	}
	checkLen(function, "a", len(a), (m-1)*lda+b.k)
	checkLen(function, "c", len(c), (m-1)*ldc+b.n)
	e.check(function, b.n, (m-1)*ldc+b.n)
	l := matrix(m, b.k, lda, ldc, append(grow(&ws.taps, 1)[:0], tap{}))
	l.multiply(a, right{panels: b.panels}, b.n, e.follow(b.n, ws), c, ws)
}

// ConvForwardPacked is ConvForward with filters that PackConv or PackWinograd arranged, which chooses the algorithm, and
// an epilogue. y overlaps neither x nor, unless it is the same slice, the residual. The map's size may differ from that
// of the geometry for which the filters were arranged.
func ConvForwardPacked(g Conv, x []float32, w *Packed, e Epilogue, y []float32, ws *Workspace) {
	const function = "ConvForwardPacked"
	g.check(function)
	if w.k != g.R*g.S*g.C || w.n != g.K {
		panic(fmt.Sprintf("kernel: %s: filters of [%d, %d] for the geometry %+v", function, w.k, w.n, g))
	}
	oh, ow := g.Out()
	checkLen(function, "x", len(x), g.N*g.H*g.W*g.C)
	checkLen(function, "y", len(y), g.N*oh*ow*g.K)
	e.check(function, g.K, g.N*oh*ow*g.K)
	if w.winograd != 0 {
		if !g.Winograd() || g.Stride != w.winograd {
			panic(fmt.Sprintf("kernel: %s: filters of PackWinograd for the geometry %+v", function, g))
		}
		g.winograd().run(x, w.panels, e.follow(g.K, ws), y, ws)
		return
	}
	l, x := g.forward(x, ws)
	l.multiply(x, right{panels: w.panels}, g.K, e.follow(g.K, ws), y, ws)
}
