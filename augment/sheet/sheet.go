package sheet

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"pupil/augment"
)

// MaxRows and MaxColumns bound a sheet: it is at most 7600 x 15700 pixels.
const (
	MaxRows    = 64
	MaxColumns = 33 // the original, and as many views of the teacher as of the student
)

// Measures in pixels.
const (
	largestCell  = 224 // larger views are made smaller
	smallestCell = 112 // smaller ones are enlarged by a whole number, so that their pixels can be seen
	margin       = 8
	gap          = 4  // between views of one kind
	groupGap     = 16 // between original, teacher and student
	textHeight   = 16
	ascent       = 12 // of the font, from the top of the text's line
)

var (
	paper = image.NewUniform(color.White)
	ink   = image.NewUniform(color.Black)
	frame = image.NewUniform(color.Gray{200}) // behind an original that is not square
)

// column is one column of cells.
type column struct {
	title string
	x     int
	image func(Row) *augment.Image
}

// Draw returns the sheet of some rows. All rows must have as many views as the first.
func Draw(rows []Row) (*image.RGBA, error) {
	if err := check(rows); err != nil {
		return nil, fmt.Errorf("contact sheet: %w", err)
	}
	cell := cellSize(rows[0])
	columns, width := layOut(rows[0], cell)
	height := 2*margin + textHeight + len(rows)*(textHeight+cell+gap)
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(m, m.Rect, paper, image.Point{}, draw.Src)
	for _, c := range columns {
		write(m, c.title, c.x, margin, cell)
	}
	y := margin + textHeight
	for _, r := range rows {
		write(m, r.Name, margin, y, width-2*margin)
		for _, c := range columns {
			place(m, image.Rect(c.x, y+textHeight, c.x+cell, y+textHeight+cell), c.image(r))
		}
		y += textHeight + cell + gap
	}
	return m, nil
}

// Write writes the sheet of some rows as a PNG.
func Write(w io.Writer, rows []Row) error {
	m, err := Draw(rows)
	if err != nil {
		return err
	}
	if err := png.Encode(w, m); err != nil {
		return fmt.Errorf("contact sheet: %w", err)
	}
	return nil
}

func check(rows []Row) error {
	if len(rows) == 0 {
		return errors.New("there are no images")
	}
	if len(rows) > MaxRows {
		return fmt.Errorf("%d images; at most %d are drawn", len(rows), MaxRows)
	}
	first := rows[0]
	if n := 1 + len(first.Teacher) + len(first.Student); n > MaxColumns {
		return fmt.Errorf("%d columns; at most %d are drawn: take fewer views", n, MaxColumns)
	}
	for i, r := range rows {
		if r.Original == nil {
			return fmt.Errorf("image %d, %s, has no pixels", i, r.Name)
		}
		if len(r.Teacher) != len(first.Teacher) || len(r.Student) != len(first.Student) {
			return fmt.Errorf("image %d, %s, has %d views of the teacher and %d of the student, the first has %d and %d",
				i, r.Name, len(r.Teacher), len(r.Student), len(first.Teacher), len(first.Student))
		}
	}
	return nil
}

// cellSize is the size of all cells, from the largest view of a row.
func cellSize(r Row) int {
	size := 0
	for _, views := range [][]*augment.Image{r.Teacher, r.Student} {
		for _, v := range views {
			size = max(size, v.Width, v.Height)
		}
	}
	if size == 0 {
		size = smallestCell
	}
	if size < smallestCell {
		size *= (smallestCell + size - 1) / size
	}
	return min(size, largestCell)
}

// layOut returns the columns and the width of the sheet.
func layOut(r Row, cell int) ([]column, int) {
	columns := []column{{"original", margin, func(r Row) *augment.Image { return r.Original }}}
	x := margin + cell
	add := func(kind string, count int, views func(Row) []*augment.Image) {
		for i := range count {
			x += gap
			if i == 0 {
				x += groupGap - gap
			}
			columns = append(columns, column{fmt.Sprintf("%s %d", kind, i+1), x, func(r Row) *augment.Image {
				return views(r)[i]
			}})
			x += cell
		}
	}
	add("teacher", len(r.Teacher), func(r Row) []*augment.Image { return r.Teacher })
	add("student", len(r.Student), func(r Row) []*augment.Image { return r.Student })
	return columns, x + margin
}

// place draws an image as large as it fits into a cell, in its middle.
func place(dst *image.RGBA, cell image.Rectangle, img *augment.Image) {
	draw.Draw(dst, cell, frame, image.Point{}, draw.Src)
	longest := max(img.Width, img.Height)
	width, height := max(1, img.Width*cell.Dx()/longest), max(1, img.Height*cell.Dy()/longest)
	at := cell.Min.Add(image.Pt((cell.Dx()-width)/2, (cell.Dy()-height)/2))
	scaler := draw.Scaler(draw.NearestNeighbor)
	if longest > cell.Dx() {
		scaler = draw.BiLinear // which takes all pixels into account when it makes smaller
	}
	src := picture(img)
	scaler.Scale(dst, image.Rectangle{at, at.Add(image.Pt(width, height))}, src, src.Bounds(), draw.Src, nil)
}

// picture is an image as package image has it.
func picture(img *augment.Image) image.Image {
	r := image.Rect(0, 0, img.Width, img.Height)
	if img.Channels == 1 {
		return &image.Gray{Pix: img.Pix, Stride: img.Width, Rect: r}
	}
	m := image.NewRGBA(r)
	for i := range img.Width * img.Height {
		copy(m.Pix[4*i:], img.Pix[3*i:3*i+3])
		m.Pix[4*i+3] = 255
	}
	return m
}

// write writes a line of text, cut with dots to what fits into the width.
func write(dst *image.RGBA, text string, x, y, width int) {
	face := basicfont.Face7x13
	d := font.Drawer{Dst: dst, Src: ink, Face: face, Dot: fixed.P(x, y+ascent)}
	letters := []rune(text)
	if fits := width / face.Advance; len(letters) > fits {
		letters = append(letters[:max(0, fits-3):max(0, fits-3)], []rune("...")...)
	}
	d.DrawString(string(letters))
}
