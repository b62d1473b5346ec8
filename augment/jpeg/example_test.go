package jpeg_test

import (
	"bytes"
	"fmt"
	"image"
	stdjpeg "image/jpeg"

	"pupil/augment/jpeg"
)

// A file is read here when it can be, and by image/jpeg when not.
func Example() {
	var file bytes.Buffer
	if err := stdjpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 20, 10)), nil); err != nil {
		fmt.Println(err)
		return
	}
	if m, ok := jpeg.Decode(file.Bytes()); ok {
		fmt.Println(m.Width, m.Height, m.Channels, m.Pix[:3])
		return
	}
	m, err := stdjpeg.Decode(&file)
	fmt.Println(m, err)
	// Output: 20 10 1 [0 0 0]
}
