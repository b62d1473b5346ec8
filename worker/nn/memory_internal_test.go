package nn

import (
	"testing"

	"pupil/internal/random"
)

// scatter makes memory with random sizes and lifetimes, some of which may take the place of others.
func scatter(seed uint64) []*memory {
	r := random.New(random.PurposeTest, seed)
	pick := func(n int) int { return int(r.Uint64() % uint64(n)) }
	var all []*memory
	for id := range 2 + pick(60) {
		m := &memory{size: 1 + pick(4)*alignment + pick(3), first: id, last: id + pick(12)}
		for _, o := range all {
			if pick(2) == 0 {
				m.over = append(m.over, o)
			}
		}
		all = append(all, m)
	}
	return all
}

// root is whose place the memory has.
func (m *memory) root() *memory {
	if m.within != nil {
		return m.within
	}
	return m
}

func TestPlacesDoNotOverlapWhileNeeded(t *testing.T) {
	shared := 0
	for seed := range uint64(200) {
		all := scatter(seed)
		lives := make([][2]int, len(all)) // before places are shared
		peak := 0
		for i, m := range all {
			lives[i] = [2]int{m.first, m.last}
			live := 0
			for _, o := range all[:i+1] {
				if o.last >= m.first {
					live += o.size
				}
			}
			peak = max(peak, live)
		}
		n := place(all)
		lay(all, n)
		for i, m := range all {
			if m.within != nil {
				shared++
			}
			if m.offset < 0 || m.offset+m.size > n || m.root().offset%alignment != 0 || len(m.data) != m.size {
				t.Fatalf("seed %d: memory %d has %d of %d elements from %d", seed, i, m.size, n, m.offset)
			}
			for j, o := range all[:i] {
				apart := o.offset+o.size <= m.offset || m.offset+m.size <= o.offset
				handed := m.root() == o.root() && lives[j][1] <= lives[i][0]
				if !apart && lives[j][1] >= lives[i][0] && !handed {
					t.Fatalf("seed %d: memory %d (%v) and %d (%v) share a place", seed, j, lives[j], i, lives[i])
				}
			}
		}
		if most := 2*peak + alignment*len(all); n > most {
			t.Errorf("seed %d: %d elements, where at most %d are needed at one time", seed, n, peak)
		}
	}
	if shared == 0 {
		t.Error("no memory took another's place")
	}
}

// The plans of networks need no more than what is needed at one time: nothing is lost between places.
func TestPlansAreTight(t *testing.T) {
	for _, name := range []string{"resnet18_cifar", "resnet50", "mobilenet_v2", "mobilenet_v3_large"} {
		n, err := New(Config{Architecture: name, Width: 0.5, Outputs: 10, Size: 64, Channels: 3})
		if err != nil {
			t.Fatal(err)
		}
		training := &Training{}
		var all []*memory
		if _, err = newGraph(n, 8, training, true, func(g *graph) error {
			err := training.build(g, []int{n.logits})
			all = g.memories
			return err
		}); err != nil {
			t.Fatal(err)
		}
		needed, end := 0, 0
		for _, m := range all {
			if m.within != nil {
				continue
			}
			end = max(end, m.offset+m.size)
			live := 0
			for _, o := range all {
				if o.within == nil && o.first <= m.first && m.first <= o.last {
					live += o.size
				}
			}
			needed = max(needed, live)
		}
		if end < needed || float64(end) > 1.01*float64(needed) {
			t.Errorf("%s: %d elements, where %d are needed at one time", name, end, needed)
		}
	}
}
