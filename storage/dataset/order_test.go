package dataset_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pupil/internal/random"
	"pupil/storage/dataset"
)

// orders draws valid orders of many shapes.
func orders(n int) []dataset.Order {
	r := random.New(random.PurposeTest, 7)
	var out []dataset.Order
	for range n {
		o := dataset.Order{Lanes: 1 + r.IntN(8), Chunk: 1 + r.IntN(40), Seed: r.Uint64()}
		o.Batch = o.Lanes * (1 + r.IntN(6))
		for o.Count < o.Batch+r.IntN(500) {
			shard := r.IntN(60) // an empty shard now and then
			o.ShardCounts = append(o.ShardCounts, shard)
			o.Count += shard
		}
		out = append(out, o)
	}
	return out
}

func describe(o dataset.Order) string {
	return fmt.Sprintf("count %d, batch %d, lanes %d, chunk %d, %d shards, seed %#x",
		o.Count, o.Batch, o.Lanes, o.Chunk, len(o.ShardCounts), o.Seed)
}

// TestEpochUsesEachSampleOnce is the ledger: in every epoch the lanes and the left-out samples together are all
// samples.
func TestEpochUsesEachSampleOnce(t *testing.T) {
	for _, o := range orders(200) {
		if err := o.Validate(); err != nil {
			t.Fatalf("%s: %v", describe(o), err)
		}
		for epoch := range 3 {
			seen := make([]int, o.Count)
			for lane := range o.Lanes {
				samples := o.Lane(epoch, lane)
				if len(samples) != o.StepsPerEpoch()*o.Batch/o.Lanes {
					t.Fatalf("%s: lane %d has %d samples", describe(o), lane, len(samples))
				}
				for _, s := range samples {
					seen[s]++
				}
			}
			left := o.LeftOut(epoch)
			if len(left) >= o.Batch {
				t.Errorf("%s: %d samples are left out", describe(o), len(left))
			}
			for _, s := range left {
				seen[s]++
			}
			if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
				t.Fatalf("%s: sample %d comes %d times in epoch %d", describe(o), i, seen[i], epoch)
			}
		}
	}
}

// TestAtWalksTheLanes checks that steps cut the lanes' samples in order, and that Cursor and At agree in any order.
func TestAtWalksTheLanes(t *testing.T) {
	r := random.New(random.PurposeTest, 8)
	for _, o := range orders(50) {
		n := o.Batch / o.Lanes
		for lane := range o.Lanes {
			cursor := o.Cursor(lane)
			for range 4 {
				step := r.IntN(3 * o.StepsPerEpoch())
				epoch, samples := o.At(step, lane)
				if epoch != step/o.StepsPerEpoch() {
					t.Fatalf("%s: step %d is in epoch %d", describe(o), step, epoch)
				}
				first := step % o.StepsPerEpoch() * n
				if want := o.Lane(epoch, lane)[first : first+n]; !slices.Equal(samples, want) {
					t.Fatalf("%s: step %d of lane %d: %v, want %v", describe(o), step, lane, samples, want)
				}
				if e, again := cursor.At(step); e != epoch || !slices.Equal(again, samples) {
					t.Fatalf("%s: Cursor gives %d, %v; At %d, %v", describe(o), e, again, epoch, samples)
				}
			}
		}
	}
}

// TestChunksStayTogether checks that a lane's range is a run of whole chunks, but for its two ends.
func TestChunksStayTogether(t *testing.T) {
	for _, o := range orders(100) {
		chunkOf := map[int]int{}
		size := map[int]int{}
		first, chunk := 0, 0
		for _, count := range o.ShardCounts {
			for k := range count {
				if k%o.Chunk == 0 {
					chunk++
				}
				chunkOf[first+k] = chunk
				size[chunk]++
			}
			first += count
		}
		for lane := range o.Lanes {
			have := map[int]int{}
			for _, s := range o.Lane(1, lane) {
				have[chunkOf[s]]++
			}
			cut := 0
			for c, n := range have {
				if n != size[c] {
					cut++
				}
			}
			if cut > 2 {
				t.Fatalf("%s: lane %d has parts of %d chunks, only those at its ends can be cut", describe(o), lane, cut)
			}
		}
	}
}

// TestLaneTouchesFewShards is the concrete case of chunks as large as shards: 100 shards, 8 lanes.
func TestLaneTouchesFewShards(t *testing.T) {
	o := dataset.Order{Count: 10_000, Batch: 80, Lanes: 8, Chunk: 100, Seed: 1}
	o.ShardCounts = slices.Repeat([]int{100}, 100)
	for epoch := range 5 {
		for lane := range o.Lanes {
			shards := map[int]bool{}
			for _, s := range o.Lane(epoch, lane) {
				shards[s/100] = true
			}
			if len(shards) > 14 { // 1250 samples: 12.5 shards, cut at both ends
				t.Errorf("epoch %d, lane %d touches %d of 100 shards", epoch, lane, len(shards))
			}
		}
	}
}

func TestOrderIsAFunctionOfSeedAndEpoch(t *testing.T) {
	o := dataset.Order{Count: 1000, Batch: 40, Lanes: 4, Chunk: 10, ShardCounts: []int{300, 300, 400}, Seed: 5}
	want := o.Lane(2, 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := o.Lane(2, 1); !slices.Equal(got, want) {
				t.Error("the same lane of the same epoch differs")
			}
		})
	}
	wg.Wait()
	other := o
	other.Seed = 6
	for name, got := range map[string][]int{"seed": other.Lane(2, 1), "epoch": o.Lane(3, 1), "lane": o.Lane(2, 2)} {
		same := 0
		for i := range got {
			if got[i] == want[i] {
				same++
			}
		}
		if same > len(want)/10 {
			t.Errorf("with another %s, %d of %d samples stay in their place", name, same, len(want))
		}
	}
}

// TestOrderStaysTheSame pins the order: a change breaks every checkpoint and every published result.
func TestOrderStaysTheSame(t *testing.T) {
	o := dataset.Order{Count: 23, Batch: 8, Lanes: 2, Chunk: 4, ShardCounts: []int{10, 13}, Seed: 1}
	got := [][]int{o.Lane(0, 0), o.Lane(0, 1), o.LeftOut(0), o.Lane(1, 0)}
	want := [][]int{
		{9, 5, 0, 4, 7, 8, 22, 6},
		{10, 3, 16, 1, 2, 14, 17, 15},
		{11, 12, 13, 18, 19, 20, 21},
		{5, 15, 4, 6, 14, 17, 7, 16},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOrderValidate(t *testing.T) {
	good := dataset.Order{Count: 10, Batch: 4, Lanes: 2, Chunk: 3, ShardCounts: []int{4, 6}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*dataset.Order){
		"batch is 0":            func(o *dataset.Order) { o.Batch = 0 },
		"lanes is -1":           func(o *dataset.Order) { o.Lanes = -1 },
		"not a multiple":        func(o *dataset.Order) { o.Lanes = 3 },
		"chunk is 0":            func(o *dataset.Order) { o.Chunk = 0 },
		"fewer than a batch":    func(o *dataset.Order) { o.Batch = 12 },
		"the shards have 4":     func(o *dataset.Order) { o.ShardCounts = []int{4} },
		"shard 1 has 7 images":  func(o *dataset.Order) { o.ShardCounts = []int{4, 7} },
		"shard 0 has -1 images": func(o *dataset.Order) { o.ShardCounts = []int{-1, 11} },
	} {
		o := good
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want an error with %q", err, want)
		}
		if _, samples := o.At(0, 0); len(samples) > 0 || o.Lane(0, 0) != nil || o.LeftOut(0) != nil {
			t.Errorf("%s: an order that is not valid gives samples", want)
		}
	}
	o := dataset.Order{}
	for _, fault := range []string{"batch", "lanes", "chunk", "images"} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("Validate of nothing = %v, want all faults, %s too", err, fault)
		}
	}
	if good.Lane(-1, 0) != nil || good.Lane(0, 2) != nil || good.Lane(0, -1) != nil || good.LeftOut(-1) != nil {
		t.Error("a lane or epoch that does not exist has samples")
	}
	if _, samples := good.At(-1, 0); samples != nil {
		t.Error("a step before the first has samples")
	}
}

func BenchmarkLane(b *testing.B) {
	o := dataset.Order{Count: 1_280_000, Batch: 256, Lanes: 8, Chunk: 64, ShardCounts: slices.Repeat([]int{1000}, 1280)}
	for epoch := 0; b.Loop(); epoch++ {
		o.Lane(epoch, 3)
	}
}

func BenchmarkCursor(b *testing.B) {
	o := dataset.Order{Count: 1_280_000, Batch: 256, Lanes: 8, Chunk: 64, ShardCounts: slices.Repeat([]int{1000}, 1280)}
	c := o.Cursor(3)
	for step := 0; b.Loop(); step++ {
		c.At(step % 5000)
	}
}

func ExampleOrder() {
	o := dataset.Order{Count: 10, Batch: 4, Lanes: 2, Chunk: 5, ShardCounts: []int{5, 5}, Seed: 1}
	fmt.Println(o.StepsPerEpoch(), "steps in an epoch")
	used := 0
	for lane := range o.Lanes {
		used += len(o.Lane(0, lane))
	}
	fmt.Println(used, "samples used,", len(o.LeftOut(0)), "left out")
	// Output:
	// 2 steps in an epoch
	// 8 samples used, 2 left out
}
