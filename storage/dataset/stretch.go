package dataset

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
)

// unitOf is the unit of image i of a shard.
func (d *Dataset) unitOf(l *listing, i int) unit {
	if !l.sums {
		return unit{l.shard, -1}
	}
	return unit{l.shard, i / d.block}
}

// span is where the blocks from first to end-1 lie in their shard, and their images.
func (d *Dataset) span(l *listing, first, end int) (images []entry, offset, length int64) {
	images = l.entries[first*d.block : min(end*d.block, len(l.entries))]
	last := images[len(images)-1]
	return images, images[0].Offset, last.Offset + last.Size - images[0].Offset
}

// loadUnit makes a unit ready in memory, and what is fetched with it.
func (d *Dataset) loadUnit(ctx context.Context, u unit) (c *content, err error) {
	if u.block < 0 {
		return d.load(ctx, u.shard)
	}
	l, err := d.indexes.get(ctx, u.shard, false)
	if err != nil {
		return nil, err
	}
	own := func(v *content, e error) { c, err = v, e }
	shared := d.ready(ctx, l, claims{u.block: own})
	if err != nil && shared && ctx.Err() == nil { // perhaps because of the others
		alone := claims{u.block: own}
		d.fetchStretch(ctx, l, u.block, u.block+1, alone, alone)
	}
	return c, err
}

// claims are blocks of a shard whose loads this goroutine has taken over.
type claims map[int]landing[*content]

// claim takes over the loads of blocks that are neither in memory nor under way.
func (d *Dataset) claim(l *listing, blocks []int) claims {
	units := make([]unit, len(blocks))
	for i, b := range blocks {
		units[i] = unit{l.shard, b}
	}
	out := claims{}
	for u, land := range d.units.claim(units) {
		out[u.block] = land
	}
	return out
}

// beside are the blocks that are worth a fetch together with one: the group of it, as large as a request may be, that
// lies in one segment. Without a place to keep them there are none.
func (d *Dataset) beside(l *listing, block int) (blocks []int) {
	if d.disk == nil || d.block > 1 || !d.company.welcome() {
		return nil
	}
	n := 1 // a power of two, so that groups of different sizes nest
	for 2*n <= d.segment && int64(2*n)*d.manifest.Bytes() <= d.pace.now()*int64(d.manifest.Count) {
		n *= 2
	}
	start := block / d.segment * d.segment
	first := start + (block-start)/n*n
	for b := first; b < min(first+n, start+d.segment, len(l.entries)); b++ {
		if b != block && !d.company.has(l.shard, b) {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// ready ends the claims of blocks that are wanted. They come from the cache on disk where it has them; the others are fetched,
// with what lies beside them: a request for each stretch of neighbours. It tells whether a request was for more than one block.
func (d *Dataset) ready(ctx context.Context, l *listing, wanted claims) (shared bool) {
	for block, land := range wanted {
		if found := d.recall(l, block); found != nil {
			land(found, nil)
			delete(wanted, block)
		}
	}
	all := maps.Clone(wanted)
	for block := range wanted {
		for neighbour, land := range d.claim(l, d.beside(l, block)) {
			if d.stored(l, neighbour) {
				land(nil, errReleased) // it is on the disk for when it is wanted
				continue
			}
			all[neighbour] = land
		}
	}
	missing := slices.Sorted(maps.Keys(all))
	for len(missing) > 0 {
		n := 1
		for n < len(missing) && missing[n] == missing[0]+n {
			n++
		}
		stretch := missing[:n]
		missing = missing[n:]
		if slices.ContainsFunc(stretch, func(b int) bool { return wanted[b] != nil }) {
			d.fetchStretch(ctx, l, stretch[0], stretch[n-1]+1, all, wanted)
			shared = shared || n > 1
			continue
		}
		for _, block := range stretch {
			all[block](nil, errReleased)
		}
	}
	return shared
}

// recall reads a block from the cache on disk; nil when it is not there, or not right.
func (d *Dataset) recall(l *listing, block int) *content {
	if d.disk == nil {
		return nil
	}
	images, offset, length := d.span(l, block, block+1)
	name, at := d.place(l, block)
	data, ok := d.disk.Read(name, at, length)
	if !ok || hole(data) || d.check(l.shard, images, offset, data) != nil {
		return nil // nobody has written it, or it is damaged; it is written again
	}
	return &content{number: l.shard, offset: offset, data: data}
}

// stored tells whether somebody has written a block into the cache on disk; whether it is right, recall finds out.
func (d *Dataset) stored(l *listing, block int) bool {
	_, _, length := d.span(l, block, block+1)
	name, at := d.place(l, block)
	data, ok := d.disk.Read(name, at, min(length, holeBytes))
	return ok && !hole(data)
}

// holeBytes are those at the beginning of a block by which a hole is known: no image begins with so many zeros, and one that
// did would be fetched whenever it is needed.
const holeBytes = 16

// hole tells whether a block that was read from the cache on disk was never written there.
func hole(data []byte) bool {
	var zeros [holeBytes]byte
	n := min(len(data), holeBytes)
	return bytes.Equal(data[:n], zeros[:n])
}

// place is where a block is in a cache on disk that datasets share: a piece for each segment, and where in it.
func (d *Dataset) place(l *listing, block int) (name string, at int64) {
	const digits = 32 // of the shard's hash
	segment := block * d.block / d.segment
	name = fmt.Sprintf("%s-%d-%d", d.manifest.Shards[l.shard].SHA256[:digits], d.segment, segment)
	return name, l.entries[block*d.block].Offset - l.entries[segment*d.segment].Offset
}

// fetchStretch reads the blocks first to end-1, which are claimed, by one request, checks them, and puts them into the cache on
// disk. Those that are wanted come into memory, too, and others where there is room for them.
func (d *Dataset) fetchStretch(ctx context.Context, l *listing, first, end int, c, wanted claims) {
	_, start, length := d.span(l, first, end)
	data, err := d.fetch(ctx, l.shard, start, length)
	if err != nil {
		for block := first; block < end; block++ {
			c[block](nil, err)
		}
		return
	}
	loaded, faults, whole := make([]*content, end-first), make([]error, end-first), true
	for i := range loaded {
		images, offset, n := d.span(l, first+i, first+i+1)
		part := data[offset-start:][:n:n]
		faults[i] = d.check(l.shard, images, offset, part)
		whole = whole && faults[i] == nil
		if wanted[first+i] == nil && !d.units.room(n) {
			continue
		}
		if d.block == 1 && end-first > 1 {
			part = bytes.Clone(part) // so that one image that stays does not keep the memory of all
		}
		loaded[i] = &content{number: l.shard, offset: offset, data: part}
	}
	kept := whole && d.disk != nil && d.keep(ctx, l, first, end, data)
	for i, fault := range faults {
		block := first + i
		if d.disk != nil && d.block == 1 && fault == nil {
			d.company.fetched(l.shard, block, wanted[block] != nil)
		}
		switch {
		case fault != nil:
			c[block](nil, fault)
		case wanted[block] != nil:
			c[block](loaded[i], nil)
		default: // it is on the disk for when it is wanted, and perhaps in memory
			if loaded[i] != nil {
				c[block](loaded[i], errSpare)
			} else {
				c[block](nil, errReleased)
			}
			if !kept {
				d.company.refused()
			}
		}
	}
}

// keep writes a stretch into the cache on disk, a part for each segment, and tells whether it could.
func (d *Dataset) keep(ctx context.Context, l *listing, first, end int, data []byte) bool {
	_, start, _ := d.span(l, first, end)
	kept := true
	for first < end {
		next := min(end, (first*d.block/d.segment+1)*d.segment/d.block)
		_, offset, length := d.span(l, first, next)
		name, at := d.place(l, first)
		kept = d.disk.Write(ctx, name, at, data[offset-start:][:length]) && kept
		first = next
	}
	return kept
}

// check compares images, which lie in data from offset, with the hashes of the index.
func (d *Dataset) check(shard int, images []entry, offset int64, data []byte) error {
	for _, e := range images {
		if err := d.checkImage(shard, e, data[e.Offset-offset:][:e.Size]); err != nil {
			return err
		}
	}
	return nil
}
