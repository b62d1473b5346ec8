package augment

// drawFlip says whether a view is flipped. The flip itself costs nothing: the horizontal change of size writes its
// columns in reverse (see resize).
func drawFlip(probability float64, key Key) bool { return key.stream(opFlip).Float64() < probability }
