//go:build amd64 && !noasm

package kernel

import (
	"slices"
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go -C _gen run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg kernel

// whyNot says why an implementation cannot run.
var whyNot = map[string]string{
	avx2:   "the CPU has no AVX2 with FMA",
	avx512: "the CPU has no AVX-512 (F, BW, DQ, VL), or the operating system does not keep its registers",
}

// Assembly is given the address of a strip's first part, and finds the others behind it.
var (
	_ [5 * 4 * stripWidth]struct{}       = [unsafe.Offsetof(strip{}.sums)]struct{}{}
	_ [(5*4 + 2*8) * stripWidth]struct{} = [unsafe.Sizeof(strip{})]struct{}{}
)

// The same of an update's factors.
var (
	_ [7 * 4]struct{} = [unsafe.Offsetof(AdamW{}.Keep)]struct{}{}
	_ [3 * 4]struct{} = [unsafe.Offsetof(Momentum{}.Rate)]struct{}{}
)

// implementations lists what this CPU can run, the best first. What x/sys/cpu tells of AVX-512 includes that the operating
// system keeps its registers.
func implementations() []string {
	list := []string{generic}
	if x := &cpu.X86; x.HasAVX2 && x.HasFMA {
		list = append(list, avx2)
		if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasBMI2 {
			list = append(list, avx512)
		}
	}
	slices.Reverse(list)
	return list
}

// productPanels is how many panels of the right matrix multiplyRows and multiplyColumns are given at most.
func productPanels() int {
	if chosen == avx512 {
		return 2
	}
	return 1
}

// multiplyRows is multiplyRowsGeneric for the columns of a panel or, with AVX-512, of two: these in pairs of tiles, and what
// is left as AVX2 does it, which gives the same bits. For a panel alone registers of 512 bits would be slower on Zen 4, which
// loads a value into all lanes of one at a time.
func multiplyRows(
	tiles, taps, depth int, x, zero []float32, offsets []int, panel, shift, old, y, waste []float32, outputs []int,
	cols int, act Activation, ahead []float32,
) {
	if chosen == generic {
		multiplyRowsGeneric(tiles, taps, depth, x, zero, offsets, panel, shift, old, y, waste, outputs, cols, act)
		return
	}
	ahead = fetchable(ahead, waste)
	if chosen == avx512 && cols > tileCols && tiles > 1 && !crowded(offsets) {
		multiplyRowsAVX512(tiles/2, taps, depth, x, zero, offsets, panel, shift, old, y, waste, outputs, cols, uint8(act), ahead)
		paired := tiles &^ 1
		tiles, offsets, outputs, ahead = tiles-paired, offsets[paired*taps*tileRows:], outputs[paired*tileRows:], waste[:0]
	}
	for j := 0; j < cols && tiles > 0; j += tileCols {
		multiplyRowsAVX2(tiles, taps, depth, x, zero, offsets, panel[j*taps*depth:], shift[j:], from(old, j), y[j:], waste, outputs,
			min(tileCols, cols-j), uint8(act), ahead)
	}
}

// fetchable returns what is to be fetched, or nothing at an address that exists, or fetching would take long.
func fetchable(ahead, near []float32) []float32 {
	if len(ahead) == 0 {
		return near[:0]
	}
	return ahead
}

// crowded tells whether rows lie such powers of two apart that all compete for the same eight places of the nearest cache,
// where those of one tile find place, and those of two do not.
func crowded(offsets []int) bool {
	for i := 1; i < len(offsets); i++ {
		if from, to := offsets[i-1], offsets[i]; i%tileRows != 0 && from >= 0 && to >= 0 {
			return (to-from)%1024 == 0
		}
	}
	return false
}

// from is v[j:], or nil.
func from(v []float32, j int) []float32 {
	if v == nil {
		return nil
	}
	return v[j:]
}

// multiplyColumns is multiplyColumnsGeneric in the same way; a second panel lies `beside` values behind the first.
func multiplyColumns(
	tiles int, x, zero []float32, offsets, starts []int, panel []float32, ld, beside, cols int, old, y, waste []float32,
	outputs []int, ahead []float32,
) {
	if chosen == generic {
		multiplyColumnsGeneric(tiles, x, zero, offsets, starts, panel, ld, cols, old, y, waste, outputs)
		return
	}
	ahead = fetchable(ahead, waste)
	if chosen == avx512 && cols > tileCols && tiles > 1 {
		multiplyColumnsAVX512(tiles/2, x, zero, offsets, starts, panel, ld, beside, cols, old, y, waste, outputs, ahead)
		paired := tiles &^ 1
		tiles, starts, outputs, ahead = tiles-paired, starts[paired:], outputs[paired*tileRows:], waste[:0]
	}
	for j := 0; j < cols && tiles > 0; j += tileCols {
		multiplyColumnsAVX2(tiles, x, zero, offsets, starts, panel[j/tileCols*beside:], ld, min(tileCols, cols-j), from(old, j), y[j:],
			waste, outputs, ahead)
	}
}

func transpose(depth int, x []float32, ld int, y []float32) {
	if chosen == generic {
		transposeGeneric(depth, x, ld, y)
		return
	}
	transposeAVX2(depth, x, ld, y)
}

func multiplyAdds(rounds int) {
	if chosen == generic {
		multiplyAddsGeneric(rounds)
		return
	}
	if chosen == avx512 {
		multiplyAddsAVX512(rounds)
		return
	}
	multiplyAddsAVX2(rounds)
}

func winogradInput(
	c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, scratch []float32,
) {
	if chosen == generic {
		winogradInputGeneric(c, x, row, zero, pixels, v, step, scratch)
		return
	}
	if chosen == avx512 {
		winogradInputAVX512(c, x, row, zero, pixels, v, step, scratch)
		return
	}
	winogradInputAVX2(c, x, row, zero, pixels, v, step, scratch)
}

func winogradOutput(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, scratch []float32,
) {
	if chosen == generic {
		winogradOutputGeneric(k, m, step, shift, old, y, row, act, scratch)
		return
	}
	if chosen == avx512 {
		winogradOutputAVX512(k, m, step, shift, old, y, row, uint8(act), scratch)
		return
	}
	winogradOutputAVX2(k, m, step, shift, old, y, row, uint8(act), scratch)
}

func winogradInput2(
	c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, scratch []float32,
) {
	if chosen == generic {
		winogradInput2Generic(c, x, row, zero, pixels, v, step, scratch)
		return
	}
	if chosen == avx512 {
		winogradInput2AVX512(c, x, row, zero, pixels, v, step, scratch)
		return
	}
	winogradInput2AVX2(c, x, row, zero, pixels, v, step, scratch)
}

func winogradOutput2(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, scratch []float32,
) {
	if chosen == generic {
		winogradOutput2Generic(k, m, step, shift, old, y, row, act, scratch)
		return
	}
	if chosen == avx512 {
		winogradOutput2AVX512(k, m, step, shift, old, y, row, uint8(act), scratch)
		return
	}
	winogradOutput2AVX2(k, m, step, shift, old, y, row, uint8(act), scratch)
}

// fills tells whether the last register of 16 channels would be more than half full.
func fills(c int) bool { return (c-1)%16 >= 8 }

func depthwiseRun(
	rows, cols, c, count int, x []float32, x0, xRow, xStep int, w []float32, w0, wRow, wCol int, y []float32,
	yStep int, accumulate bool,
) {
	if chosen == generic {
		depthwiseRunGeneric(rows, cols, c, count, x, x0, xRow, xStep, w, w0, wRow, wCol, y, yStep, accumulate)
		return
	}
	if chosen == avx512 && fills(c) {
		depthwiseRunAVX512(rows, cols, c, count, x, x0, xRow, xStep, w, w0, wRow, wCol, y, yStep, accumulate)
		return
	}
	depthwiseRunAVX2(rows, cols, c, count, x, x0, xRow, xStep, w, w0, wRow, wCol, y, yStep, accumulate)
}

func depthwiseSums(rows, cols, c, count int, x []float32, x0, xRow, xStep int, dy, dw []float32, w0, wRow int) {
	if chosen == generic {
		depthwiseSumsGeneric(rows, cols, c, count, x, x0, xRow, xStep, dy, dw, w0, wRow)
		return
	}
	if chosen == avx512 && fills(c) {
		depthwiseSumsAVX512(rows, cols, c, count, x, x0, xRow, xStep, dy, dw, w0, wRow)
		return
	}
	depthwiseSumsAVX2(rows, cols, c, count, x, x0, xRow, xStep, dy, dw, w0, wRow)
}

func touch(x []float32) {
	if chosen != generic {
		touchAVX2(x)
	}
}

// stream copies x to y as streamGeneric says. Where y begins at an odd place it may stay in the caches.
func stream(x, y []float32) {
	if chosen == generic || uintptr(unsafe.Pointer(unsafe.SliceData(y)))%32 != 0 {
		streamGeneric(x, y)
		return
	}
	streamAVX2(x, y)
}

func normBand(cols, n, stride int, x []float32, s []strip, act Activation, y []float32, block int) {
	if chosen == generic {
		normBandGeneric(cols, n, stride, x, s, act, y, block)
		return
	}
	normBandAVX2(cols, n, stride, x, &s[0].mean[0], uint8(act), y, block)
}

func normBackwardBand(cols, n, stride int, x, dz []float32, s []strip, y []float32, block int) {
	if chosen == generic {
		normBackwardBandGeneric(cols, n, stride, x, dz, s, y, block)
		return
	}
	normBackwardBandAVX2(cols, n, stride, x, dz, &s[0].mean[0], y, block)
}

func depthwiseBand(
	blocks, rows, cols int, x []float32, table []int, block, step int, w, y []float32, yRow, yCol int, ahead, beside []float32,
) {
	if chosen == generic {
		depthwiseBandGeneric(blocks, rows, cols, x, table, block, step, w, y, yRow, yCol)
		return
	}
	depthwiseBandAVX2(blocks, rows, cols, x, table, block, step, w, y, yRow, yCol, fetchable(ahead, x), fetchable(beside, x))
}

func depthwiseBandSums(
	blocks, rows, cols int, x []float32, table []int, block, step int, dy []float32, dyTable []int, dyBlock int,
	sums, ahead []float32,
) {
	if chosen == generic {
		depthwiseBandSumsGeneric(blocks, rows, cols, x, table, block, step, dy, dyTable, dyBlock, sums)
		return
	}
	depthwiseBandSumsAVX2(blocks, rows, cols, x, table, block, step, dy, dyTable, dyBlock, sums, fetchable(ahead, x))
}

func depthwiseBandSpread(
	blocks, rows, cols int, x []float32, table []int, block int, w, y []float32, yRow, yCol int, ahead, beside []float32,
) {
	if chosen == generic {
		depthwiseBandSpreadGeneric(blocks, rows, cols, x, table, block, w, y, yRow, yCol)
		return
	}
	depthwiseBandSpreadAVX2(blocks, rows, cols, x, table, block, w, y, yRow, yCol, fetchable(ahead, x), fetchable(beside, x))
}

func activate(act Activation, x, y []float32) {
	if chosen == generic {
		activateGeneric(act, x, y)
		return
	}
	activateAVX2(uint8(act), x, y)
}

func activateBackward(act Activation, x, dy, dx []float32) {
	if chosen == generic {
		activateBackwardGeneric(act, x, dy, dx)
		return
	}
	activateBackwardAVX2(uint8(act), x, dy, dx)
}

func normSums(rows, n, stride int, x []float32, s []strip) {
	if chosen == generic {
		normSumsGeneric(rows, n, stride, x, s)
		return
	}
	normSumsAVX2(rows, n, stride, x, &s[0].mean[0])
}

func normApply(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	if chosen == generic {
		normApplyGeneric(rows, n, stride, x, s, act, y)
		return
	}
	normApplyAVX2(rows, n, stride, x, &s[0].mean[0], uint8(act), y)
}

func normBackwardSums(rows, n, stride int, x, dy []float32, s []strip, act Activation, dz []float32) {
	if chosen == generic {
		normBackwardSumsGeneric(rows, n, stride, x, dy, s, act, dz)
		return
	}
	normBackwardSumsAVX2(rows, n, stride, x, dy, &s[0].mean[0], uint8(act), dz)
}

func normBackwardApply(rows, n, stride int, x, dz []float32, s []strip, dx []float32) {
	if chosen == generic {
		normBackwardApplyGeneric(rows, n, stride, x, dz, s, dx)
		return
	}
	normBackwardApplyAVX2(rows, n, stride, x, dz, &s[0].mean[0], dx)
}

func scaleShift(rows, n, stride int, x []float32, s []strip, act Activation, y []float32) {
	if chosen == generic {
		scaleShiftGeneric(rows, n, stride, x, s, act, y)
		return
	}
	scaleShiftAVX2(rows, n, stride, x, &s[0].mean[0], uint8(act), y)
}

func add(x, y, z []float32) {
	if chosen == generic {
		addGeneric(x, y, z)
		return
	}
	addAVX2(x, y, z)
}

func multiply(x, y, z []float32) {
	if chosen == generic {
		multiplyGeneric(x, y, z)
		return
	}
	multiplyAVX2(x, y, z)
}

func maximum(x, y []float32) {
	if chosen == generic {
		maximumGeneric(x, y)
		return
	}
	maximumAVX2(x, y)
}

func maximumAt(pixel int32, x, y []float32, at []int32) {
	if chosen == generic {
		maximumAtGeneric(pixel, x, y, at)
		return
	}
	maximumAtAVX2(pixel, x, y, at)
}

func sumRows(rows, n, stride int, x []float32, sums *[sumsWidth]float64) {
	if chosen == generic {
		sumRowsGeneric(rows, n, stride, x, sums)
		return
	}
	sumRowsAVX2(rows, n, stride, x, sums)
}

func dotRows(rows, n, stride int, x, y []float32, sums *[sumsWidth]float64) {
	if chosen == generic {
		dotRowsGeneric(rows, n, stride, x, y, sums)
		return
	}
	dotRowsAVX2(rows, n, stride, x, y, sums)
}

func toFixed32(dst []int32, src []float32, scale float64, limit int32) (saturated int) {
	if chosen == generic {
		return toFixed32Generic(dst, src, scale, limit)
	}
	return toFixed32AVX2(dst, src, scale, limit)
}

func addFixed32(dst, src []int32) {
	if chosen == generic {
		addFixed32Generic(dst, src)
		return
	}
	addFixed32AVX2(dst, src)
}

func fromFixed32(dst []float32, src []int32, scale float64) {
	if chosen == generic {
		fromFixed32Generic(dst, src, scale)
		return
	}
	fromFixed32AVX2(dst, src, scale)
}
