package chaos

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"pupil/internal/random"
)

// Kind is what is done.
type Kind string

// The kinds of faults.
const (
	Kill    Kind = "kill"    // kill -9; started again after For
	Stop    Kind = "stop"    // SIGSTOP; SIGCONT after For
	Leave   Kind = "leave"   // SIGTERM to a worker, which hands over; a new one joins after For
	Join    Kind = "join"    // one more worker joins; it leaves after For, or stays (0)
	Cut     Kind = "cut"     // a process's connections carry nothing for For, and stay open: it is parted from all others
	Part    Kind = "part"    // the hosts are parted into two halves for For
	Slow    Kind = "slow"    // a process's connections carry 4 MB/s at most, for For
	Lose    Kind = "lose"    // a process's link loses one in twenty messages (with Netns: packets) either way, for For
	Full    Kind = "full"    // the runs' bucket has no room left for For
	Fail    Kind = "fail"    // writes to the runs' bucket fail for For
	Corrupt Kind = "corrupt" // a byte of the newest checkpoint is changed
)

// Kinds are all kinds.
func Kinds() []Kind {
	return []Kind{Kill, Stop, Leave, Join, Cut, Part, Slow, Lose, Full, Fail, Corrupt}
}

// The groups of processes that a fault may strike beside single ones (worker-0, coordinator-1).
const (
	anyWorker       = "worker" // one of those that live, by the schedule's seed
	allWorkers      = "workers"
	leader          = "leader"
	follower        = "follower"
	allCoordinators = "coordinators"
	broker          = "broker"
	checkpoints     = "checkpoint"
	allHosts        = "hosts"
	runsBucket      = "bucket"
)

// Fault is a line of a schedule.
type Fault struct {
	At   time.Duration `yaml:"at"`   // after the first committed step
	Do   Kind          `yaml:"do"`   //
	Whom string        `yaml:"whom"` // worker, worker-N, workers, leader, follower, coordinator-N, coordinators, broker, hosts, bucket, checkpoint
	For  time.Duration `yaml:"for"`  // until the process is back
}

func (f Fault) String() string {
	text := string(f.Do)
	if f.Whom != "" {
		text += " " + f.Whom
	}
	if f.For > 0 {
		text += " for " + f.For.String()
	}
	return text
}

// targets says whom each kind may strike; "N" stands for a number.
var targets = map[Kind][]string{
	Kill:    {anyWorker, "worker-N", allWorkers, leader, follower, "coordinator-N", allCoordinators, broker},
	Stop:    {anyWorker, "worker-N", leader, follower, "coordinator-N"},
	Leave:   {anyWorker, "worker-N"},
	Join:    {""},
	Cut:     {anyWorker, "worker-N", leader, follower, "coordinator-N", broker},
	Part:    {allHosts},
	Slow:    {anyWorker, "worker-N", leader, follower, "coordinator-N", broker, runsBucket},
	Lose:    {anyWorker, "worker-N", leader, follower, "coordinator-N", broker},
	Full:    {runsBucket},
	Fail:    {runsBucket},
	Corrupt: {checkpoints},
}

// onLink says whether a kind is one of links.
func (k Kind) onLink() bool { return k == Cut || k == Slow || k == Lose }

// onBucket says whether a kind is one of the runs' storage alone.
func (k Kind) onBucket() bool { return k == Full || k == Fail }

// needsNetns says whether a fault can be made between network namespaces only: on loopback the workers alone have links that
// something can be done to.
func (f Fault) needsNetns() bool {
	return f.Do == Part || f.Do.onLink() && f.Whom != runsBucket && !strings.HasPrefix(f.Whom, "worker")
}

// numbered replaces a number at the end of a name by N.
func numbered(whom string) string {
	head, tail, ok := strings.Cut(whom, "-")
	if _, err := strconv.ParseUint(tail, 10, 16); !ok || err != nil {
		return whom
	}
	return head + "-N"
}

// mayTakeAllWorkers says whether a fault may leave no worker with the newest state: the checkpoint is then all there is.
func (f Fault) mayTakeAllWorkers() bool {
	return f.Whom == allWorkers || f.Do == Part || f.Do == Cut && f.Whom == broker
}

func (f Fault) validate() error {
	allowed, known := targets[f.Do]
	switch {
	case !known:
		return fmt.Errorf("do is %q; it must be one of %v", f.Do, Kinds())
	case !slices.Contains(allowed, numbered(f.Whom)):
		return fmt.Errorf("%s cannot strike %q; it can strike %s", f.Do, f.Whom, quoted(allowed))
	case f.At < 0 || f.For < 0:
		return fmt.Errorf("at is %s and for is %s; neither may be negative", f.At, f.For)
	case f.For == 0 && (f.Do == Stop || f.Do == Part || f.Do.onLink() || f.Do.onBucket()):
		return fmt.Errorf("%s needs for: how long", f.Do)
	}
	return nil
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return strings.Join(out, ", ")
}

// Schedule is a list of faults by time.
type Schedule struct {
	Seed   uint64  `yaml:"seed"` // chooses the process where a fault strikes any
	Faults []Fault `yaml:"faults"`
}

// LoadSchedule reads a YAML file, lists all that is wrong with it, and sorts it by time.
func LoadSchedule(path string) (Schedule, error) {
	var s Schedule
	data, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("schedule: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("schedule %s: %w\na schedule has seed and faults, a fault at, do, whom and for", path, err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("schedule %s: more follows the first YAML document; a schedule is one, with all its faults in one list", path)
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("schedule %s: %w", path, err)
	}
	s.sort()
	return s, nil
}

// Validate lists all that is wrong.
func (s Schedule) Validate() error {
	var errs []error
	if len(s.Faults) == 0 {
		errs = append(errs, errors.New("there are no faults"))
	}
	for i, f := range s.Faults {
		if err := f.validate(); err != nil {
			errs = append(errs, fmt.Errorf("faults[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func (s *Schedule) sort() {
	slices.SortStableFunc(s.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
}

// End is when the last fault is over.
func (s Schedule) End() (end time.Duration) {
	for _, f := range s.Faults {
		end = max(end, f.At+f.For)
	}
	return end
}

// candidates are what Random draws from: kills most often, since machines die more often than anything else.
var candidates = []struct {
	fault  Fault
	weight int
}{
	{Fault{Do: Kill, Whom: anyWorker}, 6},
	{Fault{Do: Stop, Whom: anyWorker}, 2},
	{Fault{Do: Leave, Whom: anyWorker}, 2},
	{Fault{Do: Join}, 2},
	{Fault{Do: Cut, Whom: anyWorker}, 1},
	{Fault{Do: Slow, Whom: anyWorker}, 1},
	{Fault{Do: Lose, Whom: anyWorker}, 1},
	{Fault{Do: Full, Whom: runsBucket}, 1},
	{Fault{Do: Fail, Whom: runsBucket}, 1},
	{Fault{Do: Kill, Whom: leader}, 2},
	{Fault{Do: Kill, Whom: follower}, 1},
	{Fault{Do: Stop, Whom: leader}, 1},
	{Fault{Do: Kill, Whom: allCoordinators}, 1},
	{Fault{Do: Kill, Whom: broker}, 1},
	{Fault{Do: Corrupt, Whom: checkpoints}, 1},
	{Fault{Do: Part, Whom: allHosts}, 2},
	{Fault{Do: Cut, Whom: leader}, 1},
	{Fault{Do: Cut, Whom: follower}, 1},
	{Fault{Do: Cut, Whom: broker}, 1},
	{Fault{Do: Slow, Whom: broker}, 1},
	{Fault{Do: Lose, Whom: leader}, 1},
	{Fault{Do: Lose, Whom: broker}, 1},
}

// purposeChaos keeps these random numbers apart from all others.
const purposeChaos = 0x63_68_61_6f_73

// Random draws n faults, one every interval on average, of the kinds given; nil: of all. With netns also those that only
// network namespaces can have; without, Part alone among the kinds gives no schedule. Each fault is over half an interval
// later at the latest.
func Random(seed uint64, n int, every time.Duration, kinds []Kind, netns bool) Schedule {
	s := Schedule{Seed: seed}
	r := random.New(purposeChaos, seed)
	var from []Fault
	for _, c := range candidates {
		if (len(kinds) == 0 || slices.Contains(kinds, c.fault.Do)) && (netns || !c.fault.needsNetns()) {
			for range c.weight {
				from = append(from, c.fault)
			}
		}
	}
	if len(from) == 0 {
		return s
	}
	for i := range n {
		f := from[r.IntN(len(from))]
		f.At = (time.Duration(i)*every + time.Duration(r.Uniform(0, 0.5)*float64(every))).Round(time.Millisecond)
		if f.Do != Corrupt {
			f.For = time.Duration(r.Uniform(0.1, 0.5) * float64(every)).Round(time.Millisecond)
		}
		s.Faults = append(s.Faults, f)
	}
	s.sort()
	return s
}

// Known says whether there is such a kind.
func (k Kind) Known() bool { return slices.Contains(Kinds(), k) }

// onBucket says whether a fault strikes the runs' storage.
func (s Schedule) onBucket() bool {
	return slices.ContainsFunc(s.Faults, func(f Fault) bool { return f.Do.onBucket() })
}

// Able are the kinds that can be made on this machine by this user, but for what needs network namespaces. Runs on a store can be
// struck in any way.
func Able(onStore bool) []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return k.onBucket() && !onStore && !canStrikeFolder(k) })
}
