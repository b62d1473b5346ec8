package kernel

// bandLanes is how many channels a band has beside each other.
const bandLanes = 8

// bandLineValues is how many values a line of the cache has.
const bandLineValues = 16

// band holds some rows of an image for a depthwise convolution, in the order in which that reads them: blocks of eight
// channels, in each rows, in each the pixels between two of zeros. Row r lies in slot r modulo their number; behind the
// last slot is a row of zeros. So no output needs a case of its own at a border, and what an output reads lies close
// together however many channels there are.
type band struct {
	values               []float32
	rows, cols, channels int // of the image
	slots, slot, block   int // slots of a block; values of a slot, of a block
	laid                 int // rows that are in the band or were
}

// newBand makes a band of some slots, all zeros.
func newBand(buffer *[]float32, slots, rows, cols, channels int) band {
	b := band{rows: rows, cols: cols, channels: channels, slots: slots, slot: (cols + 2) * bandLanes}
	lines := ((slots+1)*b.slot + bandLineValues - 1) / bandLineValues
	b.block = (lines | 1) * bandLineValues // an odd number of lines: blocks begin at different places of the cache
	b.values = grow(buffer, channels/bandLanes*b.block)
	clear(b.values)
	return b
}

// at is where row r begins, its first zeros included: those of the row of zeros where it is outside of the image.
func (b *band) at(r int) int {
	if r < 0 || r >= b.rows {
		return b.slots * b.slot
	}
	return r % b.slots * b.slot
}

// upTo calls lay with the rows before `to` that are not there yet, and where they are to be laid.
func (b *band) upTo(to int, lay func(r int, y []float32)) {
	for ; b.laid < min(to, b.rows); b.laid++ {
		lay(b.laid, b.values[b.at(b.laid)+bandLanes:])
	}
}

// coming are the rows of an image before `to` that are not in the band yet. They are fetched as they lie in memory, before
// they are read eight or sixteen channels at a time.
func (b *band) coming(to int, image []float32) []float32 {
	row := b.cols * b.channels
	return image[b.laid*row : max(min(to, b.rows), b.laid)*row]
}

// next are values of the image that begins with pixel first, and of those behind it, that follow on those in the band, as
// many as are laid with the next rows of the output.
func (b *band) next(x []float32, first, rows int) []float32 {
	row := b.cols * b.channels
	from := min(first*b.channels+b.laid*row, len(x))
	return x[from:min(from+rows*row, len(x))]
}

// layNorm lays rows of an image x with a norm applied.
func (b *band) layNorm(to int, x []float32, n *Norm) {
	c := b.channels
	touch(b.coming(to, x))
	b.upTo(to, func(r int, y []float32) { normBand(b.cols, c, c, x[r*b.cols*c:], n.strips, n.act, y, b.block) })
}

// layGradient lays rows of the gradient of a norm's input: those of the image that begins with pixel first.
func (b *band) layGradient(to, first int, s *NormGradient) {
	c := b.channels
	touch(b.coming(to, s.x[first*c:]))
	touch(b.coming(to, s.dz[first*c:]))
	b.upTo(to, func(r int, y []float32) {
		at := (first + r*b.cols) * c
		normBackwardBand(b.cols, c, c, s.x[at:], s.dz[at:], s.strips, y, b.block)
	})
}

// banded tells whether a depthwise convolution can go by bands.
func (g Conv) banded() bool {
	return g.C%bandLanes == 0 && g.R == 3 && g.S == 3 && g.Pad == 1 && g.Stride <= 2
}

// bandPixels is about how many pixels of an output are computed at a time.
const bandPixels = 64

// bandRows is how many rows of the output are computed at a time.
func (g Conv) bandRows() int {
	oh, ow := g.Out()
	return min(max(bandPixels/ow, 1), oh)
}

// filterBlocks copies a filter w [3, 3, C] to [C/8][3][3][8], turned by half a turn if that is wanted.
func filterBlocks(c int, w []float32, turned bool, blocks []float32) {
	for b := range c / bandLanes {
		for t := range 9 {
			from := t
			if turned {
				from = 8 - t
			}
			*eightAt(blocks, (9*b+t)*bandLanes) = *eightAt(w, from*c+b*bandLanes)
		}
	}
}

// inputTable writes where the three rows of the input lie that each of some output rows reads.
func (g Conv) inputTable(b *band, first, rows int, ws *Workspace) []int {
	table := grow(&ws.offsets, 3*rows)
	for i := range rows {
		for r := range 3 {
			table[3*i+r] = b.at((first+i)*g.Stride + r - 1)
		}
	}
	return table
}

// farValues is how many values of a tensor are so many that the first have left the last cache before they are read again.
const farValues = 3 << 20

// far tells whether a tensor should be written past the caches: else each line of it is read before it is written.
func far(y []float32) bool { return len(y) >= farValues }

// bandForward is DepthwiseForwardNorm by bands.
func (g Conv) bandForward(x []float32, in *Norm, w, y []float32, m *Moments, ws *Workspace) {
	oh, ow := g.Out()
	rows, c := g.bandRows(), g.C
	b := newBand(&ws.normed, (rows-1)*g.Stride+3, g.H, g.W, c)
	filters := grow(&ws.panels, 9*c)
	filterBlocks(c, w, false, filters)
	aside := m != nil && far(y[:g.N*oh*ow*c]) && ow%groupRows == 0
	for n := range g.N {
		image := x[n*g.H*g.W*c:][:g.H*g.W*c]
		b.laid = 0
		for o := 0; o < oh; o += rows {
			count := min(rows, oh-o)
			b.layNorm((o+count-1)*g.Stride+2, image, in)
			first := (n*oh + o) * ow
			to := y[first*c:][:count*ow*c]
			if aside {
				to = grow(&ws.aside, len(to))
			}
			depthwiseBand(c/bandLanes, count, ow, b.values, g.inputTable(&b, o, count, ws), b.block, g.Stride, filters,
				to, ow*c, c, b.next(x, n*g.H*g.W, rows*g.Stride), nil)
			switch {
			case aside:
				m.add(to)
				stream(to, y[first*c:])
			case m != nil:
				m.upTo(y, first+count*ow, g.N*oh*ow)
			}
		}
	}
}
