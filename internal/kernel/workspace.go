package kernel

import "fmt"

// Workspace is the scratch memory of kernels. It grows as needed and is reused between calls, of any function and any
// shape. The zero value is ready. It is not for concurrent use, and may not be nil.
type Workspace struct {
	panels          []float32 // packed columns of the right matrix
	input           []float32 // images with their padding
	sums            []float32 // partial sums of one image
	zeros           []float32 // never written
	dump            []float32 // what padding rows of a tile compute, never read
	offsets         []int     // where the rows of tiles lie in the left matrix
	outputs         []int     // where the rows of tiles lie in the product
	starts          []int     // the first rows of tiles
	gathered        []float32 // a transposed left matrix of few rows
	gatheredOffsets []int
	taps            []tap
	shift           []float32 // an epilogue's, filled up to whole tiles
	transformed     []float32 // tiles of Winograd's algorithm
	products        []float32 // the same behind the products
	strips          []strip
	normed          []float32 // inputs with their norm applied
	gradient        []float32 // gradients of a norm's input
	filters         []float32 // packed columns, beside panels
	otherOffsets    []int     // offsets and outputs of a second product
	otherOutputs    []int
	ahead           [4][]float32 // memory that will be read or written next
	aside           []float32    // some rows of a far output
	patch           []float32    // one tile of the output at an edge
	pixels          []int        // where the pixels of a tile at an edge lie
	scratch         []float32    // a transform's own
	runs            []run
}

// grow returns s with length n, reallocated without its contents when it is too small.
func grow[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	*s = (*s)[:n]
	return *s
}

// fetchValues is how many values of memory to come are fetched in a step of multiplyColumns.
const fetchValues = 8

// next takes from what will be read next that which is fetched in some steps.
func (ws *Workspace) next(steps int) []float32 {
	for i, v := range ws.ahead {
		if len(v) > 0 {
			n := min(steps*fetchValues, len(v))
			ws.ahead[i] = v[n:]
			return v[:n]
		}
	}
	return nil
}

// zero returns n zeros, which must not be written.
func (ws *Workspace) zero(n int) []float32 { return grow(&ws.zeros, n)[:n] }

// waste returns a row for a tile to write to.
func (ws *Workspace) waste() []float32 { return grow(&ws.dump, maxPanels*tileCols) }

// checkLen panics unless a slice has the length that a shape needs.
func checkLen(function, argument string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("kernel: %s: %s has %d values, its shape needs %d", function, argument, have, want))
	}
}
