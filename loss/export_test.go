package loss

// For the tests of the numbers that everything else rests on.
var NewFixed = newFixed

// For a benchmark.
var Softmaxes = softmaxes

func (f fixed) Count(v float64) int64           { return f.count(v) }
func (f fixed) Value(q int64) float64           { return f.value(q) }
func (f fixed) AddValue(sum []int64, v float64) { f.addValue(sum, v) }
func (f fixed) ReadValue(sum []int64) float64   { return f.readValue(sum) }
