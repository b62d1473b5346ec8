package ringsim_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pupil/allreduce/internal/ringsim"
)

const gigabit = 125e6 // bytes a second

func config(p ringsim.Plane, ranks, bytes int) ringsim.Config {
	return ringsim.Config{
		Ranks: ranks, Plane: p, Rate: 10 * gigabit, Latency: 50 * time.Microsecond, Buckets: []int{bytes}, Steps: 1,
		Deadline: 10 * time.Second, Chunk: 256 << 10, Window: 4,
	}
}

func run(t testing.TB, c ringsim.Config) ringsim.Result {
	t.Helper()
	r, err := ringsim.Run(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func formula(c ringsim.Config) time.Duration {
	return ringsim.Time(c.Plane, c.Ranks, c.Buckets[0], c.Chunk, c.Window, c.Rate, c.Latency)
}

// Where the formula is exact, the simulation says the same, but for the last hop: all chunks are full, and every rank has
// equally many. That holds when latency counts, when bytes count, and for one chunk a rank and many.
func TestFormula(t *testing.T) {
	for _, p := range []ringsim.Plane{ringsim.Mesh, ringsim.Broker} {
		for _, ranks := range []int{2, 3, 4, 8, 16} {
			for _, chunks := range []int{1, 2, 4, 8} { // of each rank
				for _, latency := range []time.Duration{0, 50 * time.Microsecond, 5 * time.Millisecond} {
					c := config(p, ranks, ranks*chunks*64<<10)
					c.Chunk, c.Latency = 64<<10, latency
					got, want := run(t, c), formula(c)
					if off := math.Abs(float64(got.Time-want)) / float64(want); off > 0.01 {
						t.Errorf("%v, %d ranks, %d chunks each, latency %v: %v, by formula %v", p, ranks, chunks, latency, got.Time, want)
					}
					if got.Asked != 0 {
						t.Errorf("%v, %d ranks: %d questions on a network that loses nothing", p, ranks, got.Asked)
					}
					bytes := ringsim.Bytes(p, ranks, c.Buckets[0], c.Chunk)
					if control := float64(got.Busiest - bytes); control < 0 || control > 97*float64(ranks*ranks) {
						t.Errorf("%v, %d ranks: the busiest card has sent %d bytes, by formula %d", p, ranks, got.Busiest, bytes)
					}
				}
			}
		}
	}
}

// A simulation has one outcome.
func TestDeterministic(t *testing.T) {
	c := config(ringsim.Broker, 9, 1_000_000)
	c.Steps, c.Compute, c.Buckets = 3, 20*time.Millisecond, []int{400_000, 12, 1_000_004}
	c.SlowRank = map[int]float64{4: 1.5}
	c.SlowLink = map[int]float64{2: 3}
	c.Lose = func(n uint64) bool { return n%50 == 7 }
	first := run(t, c)
	if first.Resent == 0 {
		t.Error("what was lost was not sent again")
	}
	for range 3 {
		if again := run(t, c); again != first {
			t.Errorf("%+v, then %+v", first, again)
		}
	}
}

// A ring is as fast as its slowest link, and a broker's as the broker's card while that is the slower one.
func TestSlowLink(t *testing.T) {
	mesh, through := config(ringsim.Mesh, 8, 4<<20), config(ringsim.Broker, 8, 4<<20)
	quiet, shared := run(t, mesh), run(t, through)
	mesh.SlowLink, through.SlowLink = map[int]float64{3: 4}, map[int]float64{3: 4}
	if r := float64(run(t, mesh).Time) / float64(quiet.Time); r < 3.6 || r > 4.1 {
		t.Errorf("a link of a quarter makes a mesh's step %.2f times as long", r)
	}
	if r := float64(run(t, through).Time) / float64(shared.Time); r < 0.99 || r > 1.1 {
		t.Errorf("a link of a quarter makes a broker's step %.2f times as long", r)
	}
}

// A step is as long as the slowest rank computes, and what comes behind that.
func TestSlowRank(t *testing.T) {
	c := config(ringsim.Mesh, 8, 1<<20)
	c.Compute, c.Steps, c.Buckets = 400*time.Millisecond, 2, []int{1 << 20, 1 << 20, 1 << 20, 1 << 20}
	quiet := run(t, c)
	c.SlowRank = map[int]float64{5: 1.5}
	slow := run(t, c)
	if extra := slow.Time - quiet.Time; extra < 395*time.Millisecond || extra > 420*time.Millisecond {
		t.Errorf("two steps take %v, with a rank that computes 200ms longer %v", quiet.Time, slow.Time)
	}
	if slow.Waited < 400*time.Millisecond || quiet.Waited > 20*time.Millisecond {
		t.Errorf("the longest wait is %v, without a slow rank %v", slow.Waited, quiet.Waited)
	}
}

func TestRefused(t *testing.T) {
	for _, change := range []func(*ringsim.Config){
		func(c *ringsim.Config) { c.Ranks = 0 },
		func(c *ringsim.Config) { c.Rate = 0 },
		func(c *ringsim.Config) { c.Buckets = nil },
		func(c *ringsim.Config) { c.Chunk = 12 },
	} {
		c := config(ringsim.Mesh, 2, 100)
		change(&c)
		if _, err := ringsim.Run(c); err == nil {
			t.Errorf("%+v ran", c)
		}
	}
	if n, d := ringsim.Bytes(ringsim.Mesh, 1, 100, 64), ringsim.Time(ringsim.Mesh, 1, 100, 64, 1, 1, 1); n != 0 || d != 0 {
		t.Errorf("a ring of one sends %d bytes in %v", n, d)
	}
	c := config(ringsim.Mesh, 3, 1000)
	c.Lose = func(uint64) bool { return true }
	if _, err := ringsim.Run(c); err == nil {
		t.Error("a network that loses everything gave sums")
	}
}

func ExampleRun() {
	r, err := ringsim.Run(ringsim.Config{
		Ranks: 4, Plane: ringsim.Mesh, Rate: 125e6, Buckets: []int{16 << 20}, Steps: 1, Deadline: 10 * time.Second,
		Chunk: 512 << 10, Window: 8,
	})
	fmt.Println(r.Time.Round(time.Millisecond), r.Busiest>>20, err)
	// Output: 201ms 24 <nil>
}
