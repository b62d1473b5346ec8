package sheet

import "pupil/augment"

// Row is one image and what is drawn beside it.
type Row struct {
	Name     string // of the sample
	Original *augment.Image
	Teacher  []*augment.Image // views, not normalised; none without a teacher
	Student  []*augment.Image
}

// NewRow makes count pairs of views of an image: those of the key's epoch and of the epochs after it, which are the
// views that a job with the key's seed trains on.
func NewRow(name string, img *augment.Image, v *augment.Views, key augment.Key, count int) Row {
	r := Row{Name: name, Original: img}
	var teacher []float32
	if v.Teacher() != nil {
		teacher = make([]float32, v.Teacher().Len())
	}
	student := make([]float32, v.Student().Len())
	for range count {
		v.Apply(teacher, student, img, key)
		if teacher != nil {
			r.Teacher = append(r.Teacher, v.Teacher().Picture(teacher))
		}
		r.Student = append(r.Student, v.Student().Picture(student))
		key.Epoch++
	}
	return r
}
