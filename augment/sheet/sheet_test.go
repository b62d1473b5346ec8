package sheet_test

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"slices"
	"strings"
	"testing"

	"pupil/augment"
	"pupil/augment/sheet"
)

func photo(t *testing.T) *augment.Image {
	t.Helper()
	data, err := os.ReadFile("../testdata/photo.jpg")
	if err != nil {
		t.Fatal(err)
	}
	img, err := augment.Decode(data, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func views(t *testing.T, size int, p augment.Policy) *augment.Views {
	t.Helper()
	c := augment.Config{
		Size: size, Channels: 3, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225},
		Crop: augment.Crop{Scale: [2]float64{0.3, 1}, Ratio: [2]float64{0.75, 1.33}}, Flip: 0.5, Rotate: 15, Brightness: 0.3,
	}
	pipeline, err := augment.New(c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := augment.NewViews(pipeline, pipeline, p)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func solid(width, height int, grey uint8) *augment.Image {
	return &augment.Image{Width: width, Height: height, Channels: 1, Pix: slices.Repeat([]uint8{grey}, width*height)}
}

// Everything is where it should be: the cells of 28 x 28 views are 112 pixels, the original keeps its ratio.
func TestDraw(t *testing.T) {
	row := sheet.Row{
		Name: "first", Original: solid(40, 20, 10),
		Teacher: []*augment.Image{solid(28, 28, 50), solid(28, 28, 60)}, Student: []*augment.Image{solid(28, 28, 90)},
	}
	other := row
	other.Student = []*augment.Image{solid(28, 28, 95)}
	m, err := sheet.Draw([]sheet.Row{row, other})
	if err != nil {
		t.Fatal(err)
	}
	const cell, line = 112, 16
	if want := image.Rect(0, 0, 8+4*cell+16+4+16+8, 16+line+2*(line+cell+4)); m.Rect != want {
		t.Fatalf("the sheet is %v, want %v", m.Rect, want)
	}
	for _, c := range []struct {
		name string
		x, y int // in the cell
		col  int // its left border
		row  int
		want uint8
	}{
		{"the original's middle", 56, 56, 8, 0, 10},
		{"beside the original", 56, 10, 8, 0, 200},
		{"the teacher's first", 0, 0, 8 + cell + 16, 0, 50},
		{"the teacher's second", 111, 111, 8 + 2*cell + 20, 0, 60},
		{"the student's", 5, 100, 8 + 3*cell + 36, 0, 90},
		{"the student's in the second row", 5, 100, 8 + 3*cell + 36, 1, 95},
		{"a gap", 113, 50, 8 + cell + 16, 0, 255},
	} {
		x, y := c.col+c.x, 8+line+c.row*(line+cell+4)+line+c.y
		if got := m.RGBAAt(x, y); got != (color.RGBA{c.want, c.want, c.want, 255}) {
			t.Errorf("%s is %v, want %d", c.name, got, c.want)
		}
	}
	for name, strip := range map[string]image.Rectangle{
		"the title of a column": image.Rect(8+cell+16, 8, 8+cell+16+50, 8+line),
		"the name of a row":     image.Rect(8, 8+line, 60, 8+2*line),
	} {
		if !dark(m, strip) {
			t.Errorf("%s is not there", name)
		}
	}
}

func dark(m *image.RGBA, r image.Rectangle) bool {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if m.RGBAAt(x, y).R == 0 {
				return true
			}
		}
	}
	return false
}

// Views on the sheet are the job's, and the bytes are always the same.
func TestWrite(t *testing.T) {
	img, key := photo(t), augment.Key{Seed: 3, Epoch: 1, Sample: 5}
	write := func() []byte {
		rows := []sheet.Row{
			sheet.NewRow("a/photo.jpg", img, views(t, 64, augment.PolicyNested), key, 3),
			sheet.NewRow(strings.Repeat("a long name ", 30)+"ü", img, views(t, 64, augment.PolicySame), key, 3),
		}
		if !slices.Equal(rows[1].Teacher[2].Pix, rows[1].Student[2].Pix) {
			t.Error("with policy same the views differ")
		}
		if slices.Equal(rows[0].Student[0].Pix, rows[0].Student[1].Pix) {
			t.Error("two views of one image are the same")
		}
		var file bytes.Buffer
		if err := sheet.Write(&file, rows); err != nil {
			t.Fatal(err)
		}
		return file.Bytes()
	}
	data := write()
	if !bytes.Equal(data, write()) {
		t.Error("the bytes differ from one time to the next")
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil || m.Bounds().Dx() != 8+7*128+16+16+4*4+8 {
		t.Errorf("%v, error %v", m.Bounds(), err)
	}
}

func TestRowWithoutATeacher(t *testing.T) {
	v, err := augment.NewViews(nil, views(t, 64, augment.PolicyIndependent).Student(), augment.PolicyIndependent)
	if err != nil {
		t.Fatal(err)
	}
	r := sheet.NewRow("a", photo(t), v, augment.Key{}, 2)
	if len(r.Teacher) != 0 || len(r.Student) != 2 {
		t.Errorf("%d and %d views", len(r.Teacher), len(r.Student))
	}
	if _, err := sheet.Draw([]sheet.Row{r}); err != nil {
		t.Error(err)
	}
}

// A large sheet stays in its bounds.
func TestLargeViews(t *testing.T) {
	large := solid(512, 512, 9)
	r := sheet.Row{Original: solid(1, 3000, 7), Teacher: []*augment.Image{large}, Student: []*augment.Image{large}}
	m, err := sheet.Draw([]sheet.Row{r})
	if err != nil || m.Rect.Dx() != 8+3*224+32+8 || m.Rect.Dy() != 16+16+16+224+4 {
		t.Errorf("%v, error %v", m.Rect, err)
	}
}

func TestDrawErrors(t *testing.T) {
	one := sheet.Row{Name: "one", Original: solid(2, 2, 1), Student: []*augment.Image{solid(2, 2, 1)}}
	two := one
	two.Name, two.Student = "two", nil
	for _, c := range []struct {
		rows []sheet.Row
		want string
	}{
		{nil, "there are no images"},
		{slices.Repeat([]sheet.Row{one}, 65), "65 images; at most 64"},
		{[]sheet.Row{{Original: one.Original, Student: slices.Repeat(one.Student, 33)}}, "34 columns; at most 33"},
		{[]sheet.Row{one, two}, "image 1, two, has 0 views of the teacher and 0 of the student, the first has 0 and 1"},
		{[]sheet.Row{{Name: "none"}}, "image 0, none, has no pixels"},
	} {
		if _, err := sheet.Draw(c.rows); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
		if err := sheet.Write(new(bytes.Buffer), c.rows); err == nil {
			t.Errorf("written without the error %q", c.want)
		}
	}
}
