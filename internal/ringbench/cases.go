package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The networks between the ranks.
const (
	loopback = "loopback"
	gigabit  = "1gbit"
)

// The ways to sum.
const (
	wayLocal  = "local"  // the ring between NATS servers that the ranks of one machine embed
	wayMesh   = "mesh"   // the same with TLS, as between machines
	wayBroker = "broker" // the ring over a central NATS server
	wayTCP    = "tcp"    // a plain ring over TCP, without checks and repeats: the floor
	wayGloo   = "gloo"   // PyTorch's

	wideWay = ".wide" // behind another one: sums of int32 have 4 bytes an element, however small they are
)

// The types of the elements, by name.
const (
	int32s = "int32"
	int16s = "int16"
)

// benchmark is one comparison with gloo.
type benchmark struct {
	network   string
	ranks     int
	megabytes int // of float32 or int32 elements; 0: latency of 256 bytes
	format    string
	way       string
	training  bool // no sums alone, but what of them a training hides; the other fields are not used
}

// latency says that single small sums are measured, not large ones.
func (c benchmark) latency() bool { return c.megabytes == 0 && !c.training }

func (c benchmark) name() string {
	if c.training {
		return "ring.hidden"
	}
	if c.latency() {
		return fmt.Sprintf("ring.latency.256b.n%d", c.ranks)
	}
	name := fmt.Sprintf("ring.%s.n%d.%dmb.", c.network, c.ranks, c.megabytes)
	switch c.way {
	case usual[c.network]:
		return name + c.format
	case usual[c.network] + wideWay:
		return name + c.format + wideWay
	case wayTCP:
		return name + wayTCP
	}
	return name + c.format + "." + c.way
}

// usual is the way of a case whose name says none: on one machine that of coordinator run, between machines that of a
// cluster in which a byte costs time on a link.
var usual = map[string]string{loopback: wayLocal, gigabit: wayMesh}

func (c benchmark) about() string {
	if c.training {
		return "share of communication hidden behind computing, mobilenet_v2 at 224 x 224, 2 workers; beside the target"
	}
	if c.latency() {
		return fmt.Sprintf("99th percentile of a sum of 256 bytes, %d processes", c.ranks)
	}
	way := map[string]string{
		wayLocal: "between NATS servers that the processes embed", wayMesh: "the same, with TLS",
		wayBroker: "over a central NATS server", wayTCP: "a plain TCP ring, the floor",
		wayLocal + wideWay: "as usual, but in 4 bytes an element", wayMesh + wideWay: "as usual, but in 4 bytes an element",
	}[c.way]
	return fmt.Sprintf("%d x 10^6 bytes of float32 as %s, %d processes, %s", c.megabytes, c.format, c.ranks, way)
}

// elements of a vector, 4 bytes each where they are float32 or int32.
func (c benchmark) elements() int {
	if c.latency() {
		return 64
	}
	return c.megabytes * 1e6 / 4
}

// times is how many sums a run makes, so that one lasts long enough to be timed.
func (c benchmark) times() int {
	bytes := 56 // 10^6
	if c.network == gigabit {
		bytes = 28
	}
	if c.latency() {
		return 400
	}
	return max(1, bytes/c.megabytes)
}

// cases are all of them.
func cases() (all []benchmark) {
	sizes := []int{1, 4, 14, 45}
	add := func(network string, n, mb int) {
		of := func(format, way string) benchmark {
			return benchmark{network: network, ranks: n, megabytes: mb, format: format, way: way}
		}
		for _, format := range []string{int32s, int16s} {
			if network == loopback { // between machines there is TLS
				all = append(all, of(format, wayLocal))
			}
			all = append(all, of(format, wayMesh), of(format, wayBroker))
		}
		if n == 4 && mb == 14 {
			all = append(all, of(int32s, usual[network]+wideWay))
		}
		all = append(all, of(int32s, wayTCP))
	}
	for _, n := range []int{2, 3, 4, 8} {
		for _, mb := range sizes {
			add(loopback, n, mb)
		}
	}
	for _, mb := range sizes {
		add(gigabit, 4, mb)
	}
	for _, n := range []int{2, 4, 8} {
		all = append(all, benchmark{network: loopback, ranks: n, format: int32s, way: wayLocal})
	}
	return append(all, benchmark{training: true})
}

func choose(only string) ([]benchmark, error) {
	all := cases()
	if only == "" {
		return all, nil
	}
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	chosen := slices.DeleteFunc(slices.Clone(all), func(c benchmark) bool { return !match.MatchString(c.name()) })
	if len(chosen) == 0 {
		var names []string
		for _, c := range all {
			names = append(names, c.name())
		}
		return nil, fmt.Errorf("--only %q matches no case; there are %s", only, strings.Join(names, ", "))
	}
	return chosen, nil
}

// setting is what cases that are measured together have in common: processes that wait for their turn. Its cases of one
// size take turns with each other and with gloo.
type setting struct {
	network string
	ranks   int
	cases   [][]benchmark // by size
}

func (s setting) name() string { return fmt.Sprintf("%s, %d processes", s.network, s.ranks) }

// ways are those of a setting's cases, and gloo.
func (s setting) ways() (ways []string) {
	for _, same := range s.cases {
		for _, c := range same {
			if !slices.Contains(ways, c.way) {
				ways = append(ways, c.way)
			}
		}
	}
	return append(ways, wayGloo)
}

// plan arranges cases in settings, in their order.
func plan(chosen []benchmark) (settings []setting) {
	for _, c := range chosen {
		if c.training {
			continue
		}
		i := slices.IndexFunc(settings, func(s setting) bool { return s.network == c.network && s.ranks == c.ranks })
		if i < 0 {
			i, settings = len(settings), append(settings, setting{network: c.network, ranks: c.ranks})
		}
		s := &settings[i]
		k := slices.IndexFunc(s.cases, func(same []benchmark) bool { return same[0].megabytes == c.megabytes })
		if k < 0 {
			k, s.cases = len(s.cases), append(s.cases, nil)
		}
		s.cases[k] = append(s.cases[k], c)
	}
	return settings
}
