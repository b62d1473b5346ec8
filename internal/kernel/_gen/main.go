// Command gen writes the assembly of package kernel and its Go declarations; `go generate` in that package runs it.
// Each function's comment in the *_generic.go files says what it computes; the names here are those with AVX2
// or AVX512 for Generic.
package main

import . "github.com/mmcloughlin/avo/build"

func main() {
	ConstraintExpr("amd64,!noasm")
	makeMasks()
	products()
	wide(products)
	transpose()
	touch()
	stream()
	normBand()
	normBackwardBand()
	depthwiseBand()
	depthwiseBandSums()
	depthwiseBandSpread()
	activate()
	activateBackward()
	normSums()
	normApply()
	normBackwardSums()
	normBackwardApply()
	scaleShift()
	sumRows()
	dotRows()
	elementwise("add", VADDPS)
	elementwise("multiply", VMULPS)
	maximum()
	maximumAt()
	toFixed32()
	addFixed32()
	fromFixed32()
	toFixed16()
	addFixed16()
	fromFixed16()
	makeTables24()
	packFixed24()
	addFixed24()
	unpackFixed24()
	addRounded()
	logs()
	exps()
	adamW()
	momentum()
	Generate()
}

// products are the functions that both sets have: those in which most time is spent.
func products() {
	multiplyRows()
	multiplyColumns()
	multiplyAdds()
	for _, w := range winogradForms {
		w.transformInput()
		w.transformOutput()
	}
	depthwiseRun()
	depthwiseSums()
}
