package sheet

import (
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"

	"pupil/augment"
)

// Cell is one image of a grid and the text over it.
type Cell struct {
	Name  string
	Image *augment.Image
}

// gridColumns is how many images a row of a grid has.
const gridColumns = 8

// WriteGrid writes images side by side, with their names, as a PNG. At most MaxRows rows of 8 are drawn.
func WriteGrid(w io.Writer, cells []Cell) error {
	switch {
	case len(cells) == 0:
		return errors.New("contact sheet: there are no images")
	case len(cells) > MaxRows*gridColumns:
		return fmt.Errorf("contact sheet: %d images; at most %d are drawn", len(cells), MaxRows*gridColumns)
	}
	const cell = smallestCell
	columns := min(len(cells), gridColumns)
	rows := (len(cells) + gridColumns - 1) / gridColumns
	m := image.NewRGBA(image.Rect(0, 0, 2*margin+columns*(cell+gap)-gap, 2*margin+rows*(textHeight+cell+gap)-gap))
	draw.Draw(m, m.Rect, paper, image.Point{}, draw.Src)
	for i, c := range cells {
		if c.Image == nil {
			return fmt.Errorf("contact sheet: image %d, %s, has no pixels", i, c.Name)
		}
		x, y := margin+i%gridColumns*(cell+gap), margin+i/gridColumns*(textHeight+cell+gap)
		write(m, c.Name, x, y, cell)
		place(m, image.Rect(x, y+textHeight, x+cell, y+textHeight+cell), c.Image)
	}
	return png.Encode(w, m)
}
