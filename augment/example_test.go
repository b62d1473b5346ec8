package augment_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"pupil/augment"
)

// Two views of one image: a mild one for the teacher, a hard one for the student.
func Example() {
	drawing := image.NewGray(image.Rect(0, 0, 28, 28))
	for i := range 28 {
		drawing.SetGray(i, i, color.Gray{255})
	}
	var file bytes.Buffer
	if err := png.Encode(&file, drawing); err != nil {
		fmt.Println(err)
		return
	}

	img, err := augment.Decode(file.Bytes(), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	teacher, err := augment.New(augment.Config{Size: 28, Channels: 1, Mean: []float64{0.5}, Std: []float64{0.5}})
	if err != nil {
		fmt.Println(err)
		return
	}
	student, err := augment.New(augment.Config{
		Size: 28, Channels: 1, Mean: []float64{0.5}, Std: []float64{0.5},
		Crop: augment.Crop{Scale: [2]float64{0.4, 1}, Ratio: [2]float64{0.75, 1.33}}, Rotate: 30, Brightness: 0.4,
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	weak, strong := make([]float32, teacher.Len()), make([]float32, student.Len())
	key := augment.Key{Seed: 1, Epoch: 0, Sample: 17}
	key.View = augment.TeacherView
	teacher.Apply(weak, img, key)
	key.View = augment.StudentView
	student.Apply(strong, img, key)
	fmt.Println(weak[:3], len(strong))
	// Output: [1 -1 -1] 784
}
