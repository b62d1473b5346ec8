package nn

import (
	"math/bits"
	"slices"

	"pupil/internal/kernel"
)

// fused is a layer of an inference, and the join that it does as it writes, if any.
type fused struct {
	*layer
	join     *layer
	residual int // the value that the join adds
}

// makes is the value that the layer makes.
func (f fused) makes() int {
	if f.join != nil {
		return f.join.out
	}
	return f.out
}

// reads are the values that the layer needs.
func (f fused) reads() []int {
	if f.join != nil {
		return []int{f.in[0], f.residual}
	}
	return f.in
}

func (f fused) act() kernel.Activation {
	if f.join != nil {
		return f.join.activation
	}
	return f.activation
}

// fuse lists the layers that lead to some values, and lets convolutions do the joins that follow them: that of the two
// summands which is made last adds the other one, if nobody else wants what it gives.
func (n *Network) fuse(wanted []int) []fused {
	layers := n.leading(wanted)
	list := make([]fused, len(layers))
	maker, uses := make([]int, len(n.values)), make([]int, len(n.values))
	for _, v := range wanted {
		uses[v]++
	}
	for i := range layers {
		list[i].layer = &layers[i]
		maker[layers[i].out] = i
		for _, v := range layers[i].in {
			uses[v]++
		}
	}
	for i := range list {
		j := list[i].layer
		if j.kind != join {
			continue
		}
		x, y := j.in[0], j.in[1]
		if maker[x] < maker[y] {
			x, y = y, x
		}
		last := &list[maker[x]]
		if x == y || last.layer.kind != convNorm || last.depthwise || last.activation != kernel.Identity || uses[x] > 1 {
			continue
		}
		last.join, last.residual = j, y
		maker[j.out] = maker[x]
		list[i].layer = nil
	}
	return slices.DeleteFunc(list, func(f fused) bool { return f.layer == nil })
}

// stage is a run of layers that a few images go through together. The first layers of a network have large maps and few
// weights: a few images at a time stay in the caches. The last have small maps and many weights, which are read once for
// all images.
type stage struct {
	layers []fused
	from   int // the value that it needs
	images int // that go through it at once
}

// What an inference takes for the size of caches, in bytes. Both are measured: of activations, what layers may read and
// write of a chunk of images, and of weights, what may be read again for each image.
const (
	chunkActivations = 3 << 20
	chunkWeights     = 1 << 19
)

// stages cuts an inference of a batch into stages, each of as many images as the one before it or more, the last one of
// the whole batch. What they compute of an image does not depend on it.
func (n *Network) stages(wanted []int, batch int, c FreezeConfig) []stage {
	list := n.fuse(wanted)
	end, images := len(list), batch
	stages := []stage{{images: batch}}
	for _, begin := range slices.Backward(n.cuts(list, wanted)) {
		first := &stages[0]
		if images = min(images, n.chunk(list[begin:end], c)); end == len(list) {
			images = batch
		}
		if images < first.images {
			stages = slices.Insert(stages, 0, stage{images: images})
			first = &stages[0]
		}
		first.layers = list[begin : end+len(first.layers)]
		if first.from = 0; begin > 0 {
			first.from = list[begin-1].makes()
		}
		end = begin
	}
	return stages
}

// cuts are the places in the list where nothing is needed but what the layer before has made: 0, where that is the
// images, and others.
func (n *Network) cuts(list []fused, wanted []int) (cuts []int) {
	last := make([]int, len(n.values)) // place of the last reader
	for i, f := range list {
		for _, v := range f.reads() {
			last[v] = i
		}
	}
	for _, v := range wanted {
		last[v] = len(list)
	}
	cuts = []int{0}
	needed := last[0] // by this layer at the latest: all that the layers before have made
	for i, f := range list {
		if needed <= i && last[f.makes()] < len(list) && i+1 < len(list) {
			cuts = append(cuts, i+1)
		}
		needed = max(needed, last[f.makes()])
	}
	return cuts
}

// chunk is how many images should go through some layers at once, a power of two.
func (n *Network) chunk(layers []fused, c FreezeConfig) int {
	activations, weights := 0, 0
	for _, f := range layers {
		size := n.values[f.makes()].size()
		for _, v := range f.reads() {
			size += n.values[v].size()
		}
		activations = max(activations, 4*size)
		weights += 4 * n.frozenLen(f.layer, c)
	}
	images := max(chunkActivations/activations, weights/chunkWeights, 1)
	return 1 << (bits.Len(uint(images)) - 1)
}
