package dataset

import (
	"cmp"
	"context"
	"slices"
	"sort"
)

// Plan puts images that will be wanted into groups for Prefetch: those that lie side by side make one, so that they are fetched
// by one request, but there are at least parallel groups where there are so many places. What is wanted first comes first.
func (d *Dataset) Plan(numbers []int, parallel int) [][]int {
	type spot struct{ shard, unit, number, order int }
	var spots []spot
	seen := map[int]bool{}
	for order, number := range numbers {
		if number < 0 || number >= d.manifest.Count {
			continue
		}
		shard := sort.SearchInts(d.ends, number+1)
		first := 0
		if shard > 0 {
			first = d.ends[shard-1]
		}
		u := first + (number-first)/d.block // grows with the number
		if !seen[u] {
			seen[u] = true
			spots = append(spots, spot{shard, u, number, order})
		}
	}
	slices.SortFunc(spots, func(a, b spot) int { return cmp.Compare(a.unit, b.unit) })
	average := max(d.manifest.Bytes()*int64(d.block)/int64(d.manifest.Count), 1)
	most := max(min((len(spots)+parallel-1)/max(parallel, 1), int(requestBytes/average)), 1)
	var groups [][]spot
	for i, s := range spots {
		if n := len(groups); i > 0 && s.shard == spots[i-1].shard && s.unit == spots[i-1].unit+1 && len(groups[n-1]) < most {
			groups[n-1] = append(groups[n-1], s)
			continue
		}
		groups = append(groups, []spot{s})
	}
	earliest := func(g []spot) int {
		return slices.MinFunc(g, func(a, b spot) int { return cmp.Compare(a.order, b.order) }).order
	}
	slices.SortFunc(groups, func(a, b []spot) int { return cmp.Compare(earliest(a), earliest(b)) })
	out := make([][]int, len(groups))
	for i, g := range groups {
		for _, s := range g {
			out[i] = append(out[i], s.number)
		}
	}
	return out
}

// Prefetch makes images ready, as far as nobody does so already. Sample tells what is wrong with them.
func (d *Dataset) Prefetch(ctx context.Context, numbers ...int) {
	wanted := map[int][]int{} // by shard
	var shards []int
	for _, number := range numbers {
		if number < 0 || number >= d.manifest.Count {
			continue
		}
		shard := sort.SearchInts(d.ends, number+1)
		if wanted[shard] == nil {
			shards = append(shards, shard)
		}
		wanted[shard] = append(wanted[shard], number)
	}
	for _, shard := range shards {
		l, err := d.indexes.get(ctx, shard, false)
		if err != nil {
			continue
		}
		d.prefetch(ctx, l, wanted[shard])
	}
}

func (d *Dataset) prefetch(ctx context.Context, l *listing, numbers []int) {
	first := d.ends[l.shard] - len(l.entries)
	var blocks []int
	for _, number := range numbers {
		u := d.unitOf(l, number-first)
		if u.block < 0 {
			for key, land := range d.units.claim([]unit{u}) {
				land(d.loadUnit(ctx, key))
			}
			return
		}
		blocks = append(blocks, u.block)
	}
	d.ready(ctx, l, d.claim(l, blocks))
}
