package augment

// drawFlip says whether a view is flipped.
func drawFlip(probability float64, key Key) bool { return key.stream(opFlip).Float64() < probability }

// flip mirrors each row of v [size, size, channels] in place.
func flip(v []float32, size, channels int) {
	row := size * channels
	for ; len(v) >= row; v = v[row:] {
		for i, j := 0, row-channels; i < j; i, j = i+channels, j-channels {
			for c := range channels {
				v[i+c], v[j+c] = v[j+c], v[i+c]
			}
		}
	}
}
