package sheet_test

import (
	"bytes"
	"image/png"
	"testing"

	"pupil/augment/sheet"
)

func TestWriteGrid(t *testing.T) {
	var cells []sheet.Cell
	for i := range 10 {
		cells = append(cells, sheet.Cell{Name: "image", Image: solid(20+i, 30, uint8(20*i))})
	}
	var b bytes.Buffer
	if err := sheet.WriteGrid(&b, cells); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil || m.Bounds().Dx() != 2*8+8*116-4 || m.Bounds().Dy() != 2*8+2*132-4 {
		t.Fatalf("%v, %v", m.Bounds(), err)
	}
	for i, want := range []uint32{0, 20, 40} { // the middles of the first cells
		if r, _, _, _ := m.At(8+i*116+56, 8+16+56).RGBA(); r>>8 != want {
			t.Errorf("cell %d has %d in its middle, want %d", i, r>>8, want)
		}
	}
	for name, bad := range map[string][]sheet.Cell{
		"none": nil, "no pixels": {{Name: "x"}}, "too many": make([]sheet.Cell, 8*sheet.MaxRows+1),
	} {
		if err := sheet.WriteGrid(&b, bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
