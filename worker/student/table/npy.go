package table

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// npyHeaderBytes is the length of the header of every file: there is room for any shape.
const npyHeaderBytes = 128

// npyHeader is that of version 1.0 (NEP 1): magic, version, length, and a Python dictionary that is filled up with blanks.
func npyHeader(rows, columns int) []byte {
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, columns)
	h := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	text += strings.Repeat(" ", npyHeaderBytes-len(h)-len(text)-1) + "\n"
	binary.LittleEndian.PutUint16(h[8:], uint16(len(text)))
	return append(h, text...)
}

func appendFloats(to []byte, v []float32) []byte {
	for _, x := range v {
		to = binary.LittleEndian.AppendUint32(to, math.Float32bits(x))
	}
	return to
}
