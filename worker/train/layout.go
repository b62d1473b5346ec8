package train

import "pupil/worker/nn"

// bucketBytes is the size from which a bucket takes no further tensor: large enough to keep the ring busy, small enough
// that the first leaves early in the backward pass.
const bucketBytes = 1 << 20

// tensor is one gradient or one batch statistic inside its flat vector.
type tensor struct {
	name           string
	offset, length int
}

// bucket is a run of tensors that cross the ring together: their values, then a count of saturated values for each.
type bucket struct {
	first, last int // tensors first..last-1 of the layout
	values      int // elements in all tensors
	statistics  bool
}

func (b bucket) length() int { return b.values + b.last - b.first }

// layout is the order of everything that a lane contributes to a step: gradients by parameter, then the batch
// statistics of the norms. It is a function of the network alone.
type layout struct {
	tensors  []tensor
	params   int // tensors[:params] are gradients, the rest statistics
	buckets  []bucket
	bucketOf []int // by tensor
	sizes    [2]int
}

// newLayout fills buckets in backward order: from the last parameter to the first; statistics, which are complete
// before the first gradient is, come first.
func newLayout(n *nn.Network) *layout {
	l := &layout{params: len(n.Params())}
	for _, p := range n.Params() {
		l.tensors = append(l.tensors, tensor{"gradient of " + p.Name, p.Offset, p.Len})
		l.sizes[0] = max(l.sizes[0], p.Offset+p.Len)
	}
	for _, b := range n.Buffers() {
		l.tensors = append(l.tensors, tensor{"batch statistic of " + b.Name, b.Offset, b.Len})
		l.sizes[1] = max(l.sizes[1], b.Offset+b.Len)
	}
	l.bucketOf = make([]int, len(l.tensors))
	if len(l.tensors) > l.params {
		l.add(l.params, len(l.tensors), true)
	}
	for end := l.params; end > 0; {
		first, elements := end, 0
		for first > 0 && elements*4 < bucketBytes {
			first--
			elements += l.tensors[first].length
		}
		l.add(first, end, false)
		end = first
	}
	return l
}

func (l *layout) add(first, last int, statistics bool) {
	b := bucket{first: first, last: last, statistics: statistics}
	for i := first; i < last; i++ {
		b.values += l.tensors[i].length
		l.bucketOf[i] = len(l.buckets)
	}
	l.buckets = append(l.buckets, b)
}

// slice is a tensor's part of the flat vectors.
func (l *layout) slice(i int, gradients, statistics []float32) []float32 {
	t := l.tensors[i]
	if i < l.params {
		return gradients[t.offset:][:t.length]
	}
	return statistics[t.offset:][:t.length]
}
