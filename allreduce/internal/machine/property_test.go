package machine_test

import (
	"flag"
	"testing"
	"time"

	"pupil/internal/random"
)

var seed = flag.Int("seed", -1, "run only the schedule of this seed")

// family is a set of schedules of faults, drawn by seed over rings of 1 to 9 ranks.
type family struct {
	name      string
	schedules int
	draw      func(r *random.Stream, s *sim)
	survives  bool // all ranks must do all
}

// families are 11,300 schedules. Each ends with right sums, or with an error on every rank; never with a wrong sum, and
// never not at all.
var families = []family{
	{"quiet", 600, func(*random.Stream, *sim) {}, true},
	{"repeated, delayed, replayed", 1600, func(_ *random.Stream, s *sim) {
		s.faults = faults{repeat: 0.05, delay: 0.2, replay: 0.05}
	}, true},
	{"a few lost and damaged", 1600, func(_ *random.Stream, s *sim) {
		s.faults = faults{drop: 0.01, corrupt: 0.01, truncate: 0.01, repeat: 0.02, delay: 0.1, replay: 0.02}
	}, true},
	{"a fifth lost", 1000, func(_ *random.Stream, s *sim) { s.faults = faults{drop: 0.2} }, true},
	{"anything", 1600, func(r *random.Stream, s *sim) {
		s.faults = faults{
			drop: cube(r), repeat: cube(r), delay: r.Float64(), corrupt: cube(r), truncate: cube(r), replay: cube(r),
		}
	}, false},
	{"a rank stands still", 800, func(r *random.Stream, s *sim) { s.once(r, stop, 0.4) }, true},
	{"a rank stands still for long", 700, func(r *random.Stream, s *sim) { s.once(r, stop, 3) }, false},
	{"a rank dies", 1200, func(r *random.Stream, s *sim) { s.once(r, death, 0) }, false},
	{"the broker restarts", 800, func(r *random.Stream, s *sim) { s.once(r, restart, 0.4) }, true},
	{"the broker is gone", 800, func(r *random.Stream, s *sim) { s.once(r, gone, 0) }, false},
	{"a rank is deaf to the one before it", 600, func(r *random.Stream, s *sim) { s.once(r, deaf, 0) }, false},
}

// once draws what happens once, for up to length deadlines, and a few other faults.
func (s *sim) once(r *random.Stream, k kind, length float64) {
	deadline := float64(s.config.Deadline)
	s.faults = faults{drop: 0.01, repeat: 0.02, delay: 0.1, replay: 0.02, once: k}
	s.faults.rank = r.IntN(s.config.Size)
	s.faults.from = time.Duration(r.Float64() * 3 * deadline)
	s.faults.to = s.faults.from + time.Duration(r.Float64()*length*deadline)
}

// end is when every rank must have ended after what is never over. A rank may compute for half a deadline before a
// step's sums and before its commit; then it waits for a deadline. What was under way may come until then, or be asked
// for.
func (s *sim) end() (at time.Duration, bounded bool) {
	const most = 3
	switch s.faults.once {
	case death, gone, deaf:
		return s.faults.from + most*s.config.Deadline, true
	case stop:
		return s.faults.to + most*s.config.Deadline, true
	}
	return 0, false
}

func TestSchedules(t *testing.T) {
	for k, f := range families {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			failed := 0
			var total counts
			for i := range f.schedules {
				if *seed >= 0 && i != *seed || *seed < 0 && i%every != 0 {
					continue
				}
				rng := random.New(random.PurposeTest, uint64(k), uint64(i))
				s := &sim{plan: newPlan(rng, 1+i%9), rng: rng}
				f.draw(rng, s)
				if err := s.run(time.Minute); err != nil {
					t.Fatalf("seed %d (-run '%s' -seed %d): %v", i, t.Name(), i, err)
				}
				if n := s.failed(); n > 0 && (s.faults.once != death || n > 1) {
					failed++
					if f.survives {
						t.Fatalf("seed %d: %d of %d ranks failed: %v", i, n, s.config.Size, s.ranks[0].m.Err())
					}
				}
				if last, bounded := s.end(); bounded {
					for _, r := range s.ranks {
						if r.ended > last && !r.dead {
							t.Errorf("seed %d: rank %d ended at %s, after %s: %v", i, r.id, r.ended, last, r.m.Err())
						}
					}
				}
				total.add(s.counts)
			}
			if *seed < 0 && total.narrow == 0 {
				t.Error("no sum was sent in 24 bits")
			}
			t.Logf("seeds 0 to %d by %d: %d schedules ended with errors; %+v", f.schedules-1, every, failed, total)
		})
	}
}

// There are enough schedules, and of every kind.
func TestFamilies(t *testing.T) {
	n := 0
	kinds := map[kind]bool{}
	for k, f := range families {
		n += f.schedules
		rng := random.New(random.PurposeTest, uint64(k), 0)
		s := &sim{plan: newPlan(rng, 2), rng: rng}
		f.draw(rng, s)
		kinds[s.faults.once] = true
	}
	if n < 10_000 || len(kinds) != int(deaf)+1 {
		t.Errorf("%d schedules, %d kinds of what happens once; want 10000 and %d", n, len(kinds), deaf+1)
	}
}

func cube(r *random.Stream) float64 { x := r.Float64(); return x * x * x }
