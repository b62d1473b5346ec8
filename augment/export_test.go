package augment

// Rotate turns v [size, size, channels] by an angle in degrees.
func Rotate(v []float32, size, channels int, degrees float64) {
	rotate(v, append([]float32(nil), v...), size, channels, degrees, finish{factor: 1})
}

// Rectangle is what a crop or an occlusion chose.
type Rectangle struct{ X, Y, Width, Height int }

// DrawCrop is the part of an image that a view shows.
func DrawCrop(c Crop, width, height int, key Key) Rectangle {
	r := c.withDefaults().draw(width, height, key)
	return Rectangle{r.x, r.y, r.width, r.height}
}

// DrawOcclude is the rectangle that a view hides.
func DrawOcclude(o Occlude, size int, key Key) (Rectangle, bool) {
	r, ok := o.draw(size, key)
	return Rectangle{r.x, r.y, r.width, r.height}, ok
}

// DrawAngle and DrawFactor are the draws of rotation and brightness.
func DrawAngle(limit float64, key Key) float64 { return drawAngle(limit, key) }
func DrawFactor(b float64, key Key) float32    { return drawFactor(b, key) }

// Resize changes part r of img to [size, size].
func Resize(dst []float32, size int, img *Image, r Rectangle) {
	resize(dst, size, img, rectangle{r.X, r.Y, r.Width, r.Height}, false, finish{factor: 1}, new(scratch))
}

// DrawCropIn is the part of an image that a student's view shows when the teacher's shows outer.
func DrawCropIn(c Crop, outer Rectangle, key Key) Rectangle {
	r := c.withDefaults().drawIn(rectangle{outer.X, outer.Y, outer.Width, outer.Height}, key)
	return Rectangle{r.x, r.y, r.width, r.height}
}
