package jpeg

// The inverse transform is that of C. Loeffler, A. Ligtenberg and G. Moschytz, "Practical Fast 1-D DCT Algorithms with
// 11 Multiplications" (ICASSP 1989), first for the columns and then for the rows, in the fixed point of libjpeg's
// "islow": constants have 13 binary digits after the point, what is between the two passes has 2.
const (
	constantBits = 13
	passBits     = 2
)

// Constants of the transform times 2^13; cN is cos(N pi / 16) sqrt(2).
const (
	f0298 = 2446  // -c1 + c3 + c5 - c7
	f0390 = 3196  // c3 - c5
	f0541 = 4433  // c6
	f0765 = 6270  // c2 - c6
	f0899 = 7373  // c3 - c7
	f1175 = 9633  // c3
	f1501 = 12299 // c1 + c3 - c5 - c7
	f1847 = 15137 // c2 + c6
	f1961 = 16069 // c3 + c5
	f2053 = 16819 // c1 + c3 - c5 + c7
	f2562 = 20995 // c1 + c3
	f3072 = 25172 // c1 + c3 + c5 - c7
)

// invert writes the 8 x 8 samples of a block to dst, whose rows are stride apart. The block is used up.
func invert(b *[64]int32, dst []uint8, stride int) {
	for x := range 8 {
		if b[8+x]|b[16+x]|b[24+x]|b[32+x]|b[40+x]|b[48+x]|b[56+x] == 0 {
			v := b[x] << passBits
			b[x], b[8+x], b[16+x], b[24+x] = v, v, v, v
			b[32+x], b[40+x], b[48+x], b[56+x] = v, v, v, v
			continue
		}
		const shift, half = constantBits - passBits, 1 << (constantBits - passBits - 1)
		e0, e1, e2, e3, o0, o1, o2, o3 := line(b[x], b[8+x], b[16+x], b[24+x], b[32+x], b[40+x], b[48+x], b[56+x])
		b[x], b[56+x] = (e0+o0+half)>>shift, (e0-o0+half)>>shift
		b[8+x], b[48+x] = (e1+o1+half)>>shift, (e1-o1+half)>>shift
		b[16+x], b[40+x] = (e2+o2+half)>>shift, (e2-o2+half)>>shift
		b[24+x], b[32+x] = (e3+o3+half)>>shift, (e3-o3+half)>>shift
	}
	for y := range 8 {
		r, out := b[8*y:][:8], dst[y*stride:][:8]
		e0, e1, e2, e3, o0, o1, o2, o3 := line(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7])
		out[0], out[7] = sample(e0+o0), sample(e0-o0)
		out[1], out[6] = sample(e1+o1), sample(e1-o1)
		out[2], out[5] = sample(e2+o2), sample(e2-o2)
		out[3], out[4] = sample(e3+o3), sample(e3-o3)
	}
}

// line transforms one column or row: output k is even k + odd k, output 7-k is even k - odd k.
func line(v0, v1, v2, v3, v4, v5, v6, v7 int32) (e0, e1, e2, e3, o0, o1, o2, o3 int32) {
	z := (v2 + v6) * f0541
	a, b := z-v6*f1847, z+v2*f0765
	p, m := (v0+v4)<<constantBits, (v0-v4)<<constantBits
	e0, e1, e2, e3 = p+b, m+a, m-a, p-b

	z1, z2, z3, z4 := v7+v1, v5+v3, v7+v3, v5+v1
	z5 := (z3 + z4) * f1175
	z1, z2 = -z1*f0899, -z2*f2562
	z3, z4 = z5-z3*f1961, z5-z4*f0390
	o3 = v7*f0298 + z1 + z3
	o2 = v5*f2053 + z2 + z4
	o1 = v3*f3072 + z2 + z3
	o0 = v1*f1501 + z1 + z4
	return e0, e1, e2, e3, o0, o1, o2, o3
}

// sample brings a result of the second pass to 0..255: it has 13 + 2 digits after the point and a factor of 8.
func sample(v int32) uint8 {
	const shift = constantBits + passBits + 3
	v = (v+1<<(shift-1))>>shift + 128
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}

// flat writes the samples of a block that has only a DC coefficient: what invert writes for it.
func flat(dc int32, dst []uint8, stride int) {
	v := (dc<<passBits+1<<(passBits+2))>>(passBits+3) + 128
	s := uint8(v)
	if uint32(v) > 255 {
		s = uint8(^(v >> 31))
	}
	for y := range 8 {
		out := dst[y*stride:][:8]
		for x := range out {
			out[x] = s
		}
	}
}
