package train

import "pupil/worker/nn"

// The size from which a bucket takes no further tensor, unless the job says one: an eighth of all, so that most leave
// while the backward pass runs, within these bounds. Below, messages cost more than their bytes; above, the last one
// comes late.
const (
	bucketShare    = 8
	leastBucket    = 64 << 10
	greatestBucket = 1 << 20
)

// sizeWithLeft is the size from which a bucket takes no further tensor when so many elements are left: half of them at most,
// so that buckets become smaller. What leaves last is not hidden behind anything.
func sizeWithLeft(elements, bytes int) int {
	return min(bytes, max(4*elements/2, leastBucket))
}

// bucketBytes is that size for so many gradients of float32.
func bucketBytes(gradients int) int {
	return min(max(4*gradients/bucketShare, leastBucket), greatestBucket)
}

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
// before the first gradient is, come first. A bucket takes no further tensor from so many bytes on (0: bucketBytes), and
// from half of what is left.
func newLayout(n *nn.Network, bytes int) *layout {
	l := &layout{params: len(n.Params())}
	for _, p := range n.Params() {
		l.tensors = append(l.tensors, tensor{"gradient of " + p.Name, p.Offset, p.Len})
		l.sizes[0] = max(l.sizes[0], p.Offset+p.Len)
	}
	for _, b := range n.Buffers() {
		l.tensors = append(l.tensors, tensor{"batch statistic of " + b.Name, b.Offset, b.Len})
		l.sizes[1] = max(l.sizes[1], b.Offset+b.Len)
	}
	if bytes == 0 {
		bytes = bucketBytes(l.sizes[0])
	}
	l.bucketOf = make([]int, len(l.tensors))
	if len(l.tensors) > l.params {
		l.add(l.params, len(l.tensors), true)
	}
	for end := l.params; end > 0; {
		first, elements := end, 0
		enough := sizeWithLeft(l.tensors[end-1].offset+l.tensors[end-1].length, bytes)
		for first > 0 && elements*4 < enough {
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
