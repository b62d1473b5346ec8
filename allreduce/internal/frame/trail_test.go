package frame_test

import (
	"fmt"
	"testing"

	"pupil/allreduce/internal/frame"
)

// No way that a chunk can go in the largest ring has the trail of another, nor has one that left out a rank, met one twice,
// or met two in the other order.
func TestTrails(t *testing.T) {
	const size = frame.MaxRanks
	seen := make(map[frame.Trail]int, size*size/4)
	for first := 0; first < size; first += 4 {
		var trail frame.Trail
		for n := 1; n <= size; n++ {
			trail = trail.Add((first + n - 1) % size)
			if trail.Count() != n {
				t.Fatalf("%d ranks have the trail %v", n, trail)
			}
			if other, there := seen[trail]; there {
				t.Fatalf("%d ranks from %d and from %d have the trail %v", n, first, other, trail)
			}
			seen[trail] = first
		}
	}
	const n = 200
	for at := 1; at < n-1; at++ {
		var skips, repeats, swaps frame.Trail
		for i := range n {
			switch {
			case i == at:
				repeats = repeats.Add(i).Add(i)
				swaps = swaps.Add(i + 1).Add(i)
				continue
			case i != at+1:
				swaps = swaps.Add(i)
			}
			skips, repeats = skips.Add(i), repeats.Add(i)
		}
		skips = skips.Add(n)
		for what, trail := range map[string]frame.Trail{"left out": skips, "twice": repeats, "swapped": swaps} {
			if _, there := seen[trail]; there {
				t.Errorf("rank %d %s: the trail %v is one that can be", at, what, trail)
			}
		}
	}
}

func ExampleTrail() {
	fmt.Println(frame.Arc(3, 2, 4) == frame.Trail(0).Add(3).Add(0), frame.Arc(3, 2, 4) == frame.Trail(0).Add(0).Add(3))
	fmt.Println(frame.Arc(3, 4, 4).Count())
	// Output:
	// true false
	// 4
}
