package sheet_test

import (
	"bytes"
	"fmt"
	"image/png"

	"pupil/augment"
	"pupil/augment/sheet"
)

// Two views of one image, each by teacher and student.
func Example() {
	p, err := augment.New(augment.Config{Size: 32, Channels: 3, Flip: 0.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	views, err := augment.NewViews(p, p, augment.PolicyNested)
	if err != nil {
		fmt.Println(err)
		return
	}
	img := &augment.Image{Width: 40, Height: 30, Channels: 3, Pix: make([]uint8, 40*30*3)}
	row := sheet.NewRow("cats/17.jpg", img, views, augment.Key{Seed: 1, Sample: 17}, 2)
	var file bytes.Buffer
	if err := sheet.Write(&file, []sheet.Row{row}); err != nil {
		fmt.Println(err)
		return
	}
	m, err := png.DecodeConfig(&file)
	fmt.Println(m.Width, m.Height, err)
	// Output: 696 180 <nil>
}
