//go:build !amd64 || noasm

package kernel

// whyNot says why an implementation cannot run.
var whyNot = map[string]string{
	avx2:   "this program was built without assembly",
	avx512: "this program was built without assembly",
}

func implementations() []string { return []string{generic} }

// productPanels is how many panels of the right matrix multiplyRows and multiplyColumns are given at most.
func productPanels() int { return 1 }

func multiplyRows(
	tiles, taps, depth int, x, zero []float32, offsets []int, panel, shift, old, y, waste []float32, outputs []int,
	cols int, act Activation, _ []float32,
) {
	multiplyRowsGeneric(tiles, taps, depth, x, zero, offsets, panel, shift, old, y, waste, outputs, cols, act)
}

func multiplyColumns(
	tiles int, x, zero []float32, offsets, starts []int, panel []float32, ld, _, cols int, old, y, waste []float32,
	outputs []int, _ []float32,
) {
	multiplyColumnsGeneric(tiles, x, zero, offsets, starts, panel, ld, cols, old, y, waste, outputs)
}

func transpose(depth int, x []float32, ld int, y []float32) {
	transposeGeneric(depth, x, ld, y)
}

func winogradInput(
	c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, scratch []float32,
) {
	winogradInputGeneric(c, x, row, zero, pixels, v, step, scratch)
}

func winogradOutput(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, scratch []float32,
) {
	winogradOutputGeneric(k, m, step, shift, old, y, row, act, scratch)
}

func winogradInput2(
	c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, scratch []float32,
) {
	winogradInput2Generic(c, x, row, zero, pixels, v, step, scratch)
}

func winogradOutput2(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, scratch []float32,
) {
	winogradOutput2Generic(k, m, step, shift, old, y, row, act, scratch)
}

func depthwiseRun(
	rows, cols, c, count int, x []float32, x0, xRow, xStep int, w []float32, w0, wRow, wCol int, y []float32,
	yStep int, accumulate bool,
) {
	depthwiseRunGeneric(rows, cols, c, count, x, x0, xRow, xStep, w, w0, wRow, wCol, y, yStep, accumulate)
}

func depthwiseSums(rows, cols, c, count int, x []float32, x0, xRow, xStep int, dy, dw []float32, w0, wRow int) {
	depthwiseSumsGeneric(rows, cols, c, count, x, x0, xRow, xStep, dy, dw, w0, wRow)
}

func touch([]float32) {}

func stream(x, y []float32) { streamGeneric(x, y) }

func normBand(cols, n, stride int, x []float32, s []strip, act Activation, y []float32, block int) {
	normBandGeneric(cols, n, stride, x, s, act, y, block)
}

func normBackwardBand(cols, n, stride int, x, dz []float32, s []strip, y []float32, block int) {
	normBackwardBandGeneric(cols, n, stride, x, dz, s, y, block)
}

func depthwiseBand(
	blocks, rows, cols int, x []float32, table []int, block, step int, w, y []float32, yRow, yCol int, _, _ []float32,
) {
	depthwiseBandGeneric(blocks, rows, cols, x, table, block, step, w, y, yRow, yCol)
}

func depthwiseBandSums(
	blocks, rows, cols int, x []float32, table []int, block, step int, dy []float32, dyTable []int, dyBlock int,
	sums, _ []float32,
) {
	depthwiseBandSumsGeneric(blocks, rows, cols, x, table, block, step, dy, dyTable, dyBlock, sums)
}

func depthwiseBandSpread(
	blocks, rows, cols int, x []float32, table []int, block int, w, y []float32, yRow, yCol int, _, _ []float32,
) {
	depthwiseBandSpreadGeneric(blocks, rows, cols, x, table, block, w, y, yRow, yCol)
}

func activate(act Activation, x, y []float32) {
	activateGeneric(act, x, y)
}

func activateBackward(act Activation, x, dy, dx []float32) {
	activateBackwardGeneric(act, x, dy, dx)
}

func normSums(rows, n, stride int, x []float32, s []strip) {
	normSumsGeneric(rows, n, stride, x, s)
}

func normApply(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	normApplyGeneric(rows, n, stride, x, s, act, y)
}

func normBackwardSums(rows, n, stride int, x, dy []float32, s []strip, act Activation, dz []float32) {
	normBackwardSumsGeneric(rows, n, stride, x, dy, s, act, dz)
}

func normBackwardApply(rows, n, stride int, x, dz []float32, s []strip, dx []float32) {
	normBackwardApplyGeneric(rows, n, stride, x, dz, s, dx)
}

func scaleShift(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	scaleShiftGeneric(rows, n, stride, x, s, act, y)
}

func add(x, y, z []float32) {
	addGeneric(x, y, z)
}

func multiply(x, y, z []float32) {
	multiplyGeneric(x, y, z)
}

func maximum(x, y []float32) {
	maximumGeneric(x, y)
}

func maximumAt(pixel int32, x, y []float32, at []int32) {
	maximumAtGeneric(pixel, x, y, at)
}

func sumRows(rows, n, stride int, x []float32, sums *[sumsWidth]float64) {
	sumRowsGeneric(rows, n, stride, x, sums)
}

func dotRows(rows, n, stride int, x, y []float32, sums *[sumsWidth]float64) {
	dotRowsGeneric(rows, n, stride, x, y, sums)
}

func toFixed32(dst []int32, src []float32, scale float64, limit int32) (saturated int) {
	return toFixed32Generic(dst, src, scale, limit)
}

func addFixed32(dst, src []int32) {
	addFixed32Generic(dst, src)
}

func fromFixed32(dst []float32, src []int32, scale float64) {
	fromFixed32Generic(dst, src, scale)
}

func toFixed16(dst []int16, after, src, before []float32, scale, unit float64, limit int16) (saturated int) {
	return toFixed16Generic(dst, after, src, before, scale, unit, limit)
}

func addFixed16(dst, src []int16) (overflow bool) {
	return addFixed16Generic(dst, src)
}

func fromFixed16(dst []float32, src []int16, scale float64) {
	fromFixed16Generic(dst, src, scale)
}

func packFixed24(dst []byte, src []int32) (fits bool) { return packFixed24Generic(dst, src) == 0 }

func addFixed24(dst []byte, src []int32) (fits bool) { return addFixed24Generic(dst, src) == 0 }

func unpackFixed24(dst []int32, src []byte) { unpackFixed24Generic(dst, src) }

func addRounded(sums []int64, w float64, v []float64) { addRoundedGeneric(sums, w, v) }

func logs(dst, src []float64, floor, logFloor float64) { logsGeneric(dst, src, floor, logFloor) }

func exps(dst, src []float64) { expsGeneric(dst, src) }

func multiplyAdds(rounds int) { multiplyAddsGeneric(rounds) }

func adamW(p, g, m, v []float32, f *AdamW) { adamWGeneric(p, g, m, v, f) }

func momentum(p, g, v []float32, f *Momentum) { momentumGeneric(p, g, v, f) }
