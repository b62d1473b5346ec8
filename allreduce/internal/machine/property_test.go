package machine_test

import (
	"flag"
	"testing"
	"time"

	"pupil/internal/random"
)

var seed = flag.Int("seed", -1, "run only the schedule of this seed")

// Any schedule of faults ends with right sums, or with an error on every rank; never with a wrong sum, and never not at
// all.
func TestSchedules(t *testing.T) {
	tests := []struct {
		name      string
		schedules int
		draw      func(*random.Stream) faults // but for dead and at
		survives  bool                        // all ranks must do all
	}{
		{"quiet", 300, func(*random.Stream) faults { return faults{} }, true},
		{"repeated, delayed, replayed", 600, func(*random.Stream) faults {
			return faults{repeat: 0.05, delay: 0.2, replay: 0.05}
		}, true},
		{"a few lost and damaged", 600, func(*random.Stream) faults {
			return faults{drop: 0.01, corrupt: 0.01, truncate: 0.01, repeat: 0.02, delay: 0.1, replay: 0.02}
		}, true},
		{"a fifth lost", 500, func(*random.Stream) faults { return faults{drop: 0.2} }, true},
		{"anything", 800, func(r *random.Stream) faults {
			return faults{
				drop: cube(r), repeat: cube(r), delay: r.Float64(), corrupt: cube(r), truncate: cube(r), replay: cube(r),
			}
		}, false},
	}
	for k, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			var total counts
			for i := range test.schedules {
				if *seed >= 0 && i != *seed {
					continue
				}
				rng := random.New(random.PurposeTest, uint64(k), uint64(i))
				s := &sim{plan: newPlan(rng, 1+i%9), rng: rng}
				s.faults = test.draw(rng)
				s.faults.dead = -1
				if err := s.run(time.Minute); err != nil {
					t.Fatalf("seed %d (-run '%s' -seed %d): %v", i, t.Name(), i, err)
				}
				if n := s.failed(); n > 0 {
					failed++
					if test.survives {
						t.Fatalf("seed %d: %d of %d ranks failed: %v", i, n, s.config.Size, s.ranks[0].m.Err())
					}
				}
				total.add(s.counts)
			}
			t.Logf("seeds 0 to %d: %d schedules ended with errors; %+v", test.schedules-1, failed, total)
		})
	}
}

func cube(r *random.Stream) float64 { x := r.Float64(); return x * x * x }

func (c *counts) add(d counts) {
	c.sent += d.sent
	c.dropped += d.dropped
	c.repeated += d.repeated
	c.delayed += d.delayed
	c.corrupted += d.corrupted
	c.truncated += d.truncated
	c.replayed += d.replayed
}

// A rank that dies at any moment gives every other rank an error within the deadline of the last progress.
func TestDeath(t *testing.T) {
	t.Parallel()
	failed := 0
	for i := range 400 {
		if *seed >= 0 && i != *seed {
			continue
		}
		rng := random.New(random.PurposeTest, 100, uint64(i))
		s := &sim{plan: newPlan(rng, 2+i%8), rng: rng}
		s.faults = faults{drop: 0.01, repeat: 0.02, delay: 0.1}
		s.faults.dead = rng.IntN(s.config.Size)
		s.faults.at = time.Duration(rng.Float64() * 3 * float64(s.config.Deadline))
		if err := s.run(time.Minute); err != nil {
			t.Fatalf("seed %d: %v", i, err)
		}
		if s.failed() > 1 {
			failed++
		}
		for _, r := range s.ranks {
			// What is under way at the death still counts as progress; and a rank may compute before its next call.
			if last := s.faults.at + 2*s.config.Deadline; r.ended > last && !r.dead {
				t.Errorf("seed %d: rank %d ended at %s, after %s", i, r.id, r.ended, last)
			}
		}
	}
	t.Logf("seeds 0 to 399: %d schedules were hit", failed)
}
