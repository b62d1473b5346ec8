package jpeg

// natural is the place of the k-th coefficient of the zigzag order (figure A.6) in a block of rows.
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}

// block reads the coefficients of one block of c (F.2.2), dequantised, into coefficients, which are 0 before. last is
// the place in the zigzag order of the last one that is not 0.
func (d *decoder) block(c *component, coefficients *[64]int32) (last int, ok bool) {
	if d.bits.n < 32 {
		d.bits.fill()
	}
	queue, n := d.bits.queue, d.bits.n
	symbol, length := c.dc.next(queue)
	size := int(symbol)
	if length == 0 || size > 11 {
		return 0, false
	}
	queue, n = queue<<(length&63), n-length
	if size > 0 {
		c.last += extend(int32(queue>>((64-size)&63)), size)
		queue, n = queue<<(size&63), n-size
	}
	if c.last < -1<<15 || c.last >= 1<<15 {
		return 0, false
	}
	coefficients[0] = c.last * c.quantization[0]

	ac := c.ac
	for k := 1; k < 64; k++ {
		if n < 32 {
			d.bits.queue, d.bits.n = queue, n
			d.bits.fill()
			queue, n = d.bits.queue, d.bits.n
		}
		if e := ac.whole[queue>>(64-lookBits)]; e != 0 {
			queue, n = queue<<(e&63), n-int(e&63)
			k += int(uint8(e >> 8))
			if k > 63 {
				if k < endOfBlock {
					return 0, false
				}
				break
			}
			coefficients[natural[k]&63] = e >> 16 * c.quantization[k]
			last = k
			continue
		}
		symbol, length := ac.next(queue)
		if length == 0 {
			return 0, false
		}
		queue, n = queue<<(length&63), n-length
		size := int(symbol & 15)
		k += int(symbol >> 4)
		if size == 0 {
			if symbol == 0xf0 { // 16 zeros
				continue
			}
			if symbol != 0 {
				return 0, false
			}
			break // the end of the block
		}
		if k > 63 {
			return 0, false
		}
		coefficients[natural[k]&63] = extend(int32(queue>>((64-size)&63)), size) * c.quantization[k]
		queue, n = queue<<(size&63), n-size
		last = k
	}
	d.bits.queue, d.bits.n = queue, n
	return last, true
}

// next is the symbol that stands first in queue and the length of its code; 0: there is none.
func (t *huffmanTable) next(queue uint64) (symbol uint8, length int) {
	if e := t.look[queue>>(64-lookBits)]; e != 0 {
		return uint8(e >> 8), int(e & 0xff)
	}
	return t.slow(queue)
}
