package kernel

// winogradTile is the width of a tile of Winograd's F(4x4, 3x3), and winogradStep that of its output. At stride 2 tiles
// and their products have other widths.
const (
	winogradTile    = 6
	winogradStep    = 4
	stridedTile     = 9
	stridedProducts = 5
)

// transformInput multiplies six values by the input matrix of Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks" (2015), section 4.2:
//
//	4  0 -5  0  1  0
//	0 -4 -4  1  1  0
//	0  4 -4 -1  1  0
//	0 -2 -1  2  1  0
//	0  2 -1 -2  1  0
//	0  4  0 -5  0  1
func transformInput(d [winogradTile]float32) [winogradTile]float32 {
	a, b := d[4]-float32(4*d[2]), d[3]-float32(4*d[1])
	c, e := d[4]-d[2], float32(2*(d[3]-d[1]))
	return [winogradTile]float32{
		float32(4*d[0]) + (d[4] - float32(5*d[2])),
		a + b,
		a - b,
		c + e,
		c - e,
		float32(4*d[1]) + (d[5] - float32(5*d[3])),
	}
}

// winogradInputGeneric transforms a tile of 6 x 6 pixels of c channels, rows of pixels lying row values apart, with B
// from above. With pixels [36] each pixel lies where that says in x instead, or is zero [c] for -1: v[(6i+j)*step + channel] = (B x B^T)[i, j]. scratch [36*16] is for the kernel's own use.
func winogradInputGeneric(c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, _ []float32) {
	for k := range c {
		var columns [winogradTile][winogradTile]float32
		for j := range columns {
			var d [winogradTile]float32
			for i := range d {
				d[i] = pixel(x, i*row+j*c, zero, pixels, i*winogradTile+j, k)
			}
			columns[j] = transformInput(d)
		}
		for i := range winogradTile {
			var d [winogradTile]float32
			for j := range d {
				d[j] = columns[j][i]
			}
			for j, t := range transformInput(d) {
				v[(i*winogradTile+j)*step+k] = t
			}
		}
	}
}

// pixel gives channel k of a pixel that lies at x[at:], or where pixels[n] says.
func pixel(x []float32, at int, zero []float32, pixels []int, n, k int) float32 {
	if pixels != nil {
		at = pixels[n]
	}
	if at < 0 {
		return zero[k]
	}
	return x[at+k]
}

// transformOutput multiplies six values by the output matrix of the same paper:
//
//	1 1  1 1  1 0
//	0 1 -1 2 -2 0
//	0 1  1 4  4 0
//	0 1 -1 8 -8 1
func transformOutput(m [winogradTile]float32) [winogradStep]float32 {
	near, nearer, far, farther := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [winogradStep]float32{
		m[0] + near + far,
		nearer + float32(2*farther),
		near + float32(4*far),
		m[5] + nearer + float32(8*farther),
	}
}

// winogradOutputGeneric transforms a tile of products of k channels, m[(6i+j)*step + channel], to 4 x 4 pixels, rows of
// which lie row values apart, with A from above: y[i*row + j*k + channel] = act((A m A^T)[i, j] + shift[channel] + old),
// old lying as y does; nil is none. scratch [24*16] is for the kernel's own use.
func winogradOutputGeneric(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, _ []float32,
) {
	for c := range k {
		var columns [winogradTile][winogradStep]float32
		for j := range columns {
			var d [winogradTile]float32
			for i := range d {
				d[i] = m[(i*winogradTile+j)*step+c]
			}
			columns[j] = transformOutput(d)
		}
		for i := range winogradStep {
			var d [winogradTile]float32
			for j := range d {
				d[j] = columns[j][i]
			}
			finishRow(transformOutput(d), shift[c], old, y, i*row+c, k, act)
		}
	}
}

// transformInput2 multiplies four values by the input matrix of F(4, 1) at the points 0, 1, -1 and 2:
//
//	2 -1 -2  1
//	0 -2 -1  1
//	0  2 -3  1
//	0 -1  0  1
func transformInput2(d [4]float32) [4]float32 {
	a, b := d[3]-d[1], d[3]-d[2]
	return [4]float32{
		a + float32(2*(d[0]-d[2])),
		b - float32(2*d[1]),
		b + float32(2*(d[1]-d[2])),
		a,
	}
}

// transformPhases makes the even and the odd value of each point of nine values, as winogradForms says. The last row of
// the even values' matrix, that of infinity, is 0 2 -1 -2 1.
func transformPhases(d [stridedTile]float32) [stridedTile]float32 {
	even, odd := transformInput2([4]float32{d[0], d[2], d[4], d[6]}), transformInput2([4]float32{d[1], d[3], d[5], d[7]})
	return [stridedTile]float32{
		even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3],
		(d[8] - d[4]) - float32(2*even[3]),
	}
}

// winogradInput2Generic is winogradInputGeneric of a tile of 9 x 9 pixels for a convolution of stride 2, of which
// v[(9i+j)*step + channel] are the values. scratch has [81*16].
func winogradInput2Generic(c int, x []float32, row int, zero []float32, pixels []int, v []float32, step int, _ []float32) {
	for k := range c {
		var columns [stridedTile][stridedTile]float32
		for j := range columns {
			var d [stridedTile]float32
			for i := range d {
				d[i] = pixel(x, i*row+j*c, zero, pixels, i*stridedTile+j, k)
			}
			columns[j] = transformPhases(d)
		}
		for i := range stridedTile {
			var d [stridedTile]float32
			for j := range d {
				d[j] = columns[j][i]
			}
			for j, t := range transformPhases(d) {
				v[(i*stridedTile+j)*step+k] = t
			}
		}
	}
}

// transformOutput2 multiplies five values by the output matrix of the points 0, 1, -1, 2 and infinity:
//
//	1 1  1 1 0
//	0 1 -1 2 0
//	0 1  1 4 0
//	0 1 -1 8 1
func transformOutput2(m [stridedProducts]float32) [winogradStep]float32 {
	near, nearer := m[1]+m[2], m[1]-m[2]
	return [winogradStep]float32{
		m[0] + near + m[3],
		nearer + float32(2*m[3]),
		near + float32(4*m[3]),
		m[4] + nearer + float32(8*m[3]),
	}
}

// winogradOutput2Generic is winogradOutputGeneric of the products of winogradInput2Generic's values, m[(5i+j)*step +
// channel]. scratch has [20*16].
func winogradOutput2Generic(
	k int, m []float32, step int, shift, old, y []float32, row int, act Activation, _ []float32,
) {
	for c := range k {
		var columns [stridedProducts][winogradStep]float32
		for j := range columns {
			var d [stridedProducts]float32
			for i := range d {
				d[i] = m[(i*stridedProducts+j)*step+c]
			}
			columns[j] = transformOutput2(d)
		}
		for i := range winogradStep {
			var d [stridedProducts]float32
			for j := range d {
				d[j] = columns[j][i]
			}
			finishRow(transformOutput2(d), shift[c], old, y, i*row+c, k, act)
		}
	}
}

// finishRow adds shift and old to a row of outputs of a channel, which lie k values apart from at on, and writes them.
func finishRow(out [winogradStep]float32, shift float32, old, y []float32, at, k int, act Activation) {
	for j := range out {
		out[j] += shift
		if old != nil {
			out[j] += old[at+j*k]
		}
	}
	activateGeneric(act, out[:], out[:])
	for j, v := range out {
		y[at+j*k] = v
	}
}
