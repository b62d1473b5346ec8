package augment_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"testing"

	"pupil/augment"
)

func TestSameKeySameBits(t *testing.T) {
	img := noise(40, 30, 3, 20)
	key := augment.Key{Seed: 1, Epoch: 2, Sample: 3, View: augment.StudentView}
	want := apply(t, strong(24, 3), img, key)
	p := pipeline(t, strong(24, 3))
	got := make([]float32, p.Len())
	for i := range uint64(5) {
		p.Apply(got, noise(20+int(i)*9, 33, 3, i), augment.Key{Seed: i}) // other images leave nothing behind
		p.Apply(got, img, key)
		if !slices.Equal(got, want) {
			t.Fatal("the same key and image gave other bits")
		}
	}
}

func TestEveryWordOfTheKeyCounts(t *testing.T) {
	img := noise(28, 28, 1, 21)
	views := map[string]augment.Key{
		"seed":   {Seed: 8, Epoch: 1, Sample: 1, View: 1},
		"epoch":  {Seed: 1, Epoch: 8, Sample: 1, View: 1},
		"sample": {Seed: 1, Epoch: 1, Sample: 8, View: 1},
		"view":   {Seed: 1, Epoch: 1, Sample: 1, View: 8},
		"none":   {Seed: 1, Epoch: 1, Sample: 1, View: 1},
	}
	seen := map[string]string{}
	for name, key := range views {
		v := fmt.Sprint(apply(t, strong(28, 1), img, key))
		if other, ok := seen[v]; ok {
			t.Errorf("%s and %s give the same view", name, other)
		}
		seen[v] = name
	}
}

// Switching an operation on does not change what the others draw.
func TestOperationsDrawIndependently(t *testing.T) {
	img := noise(28, 28, 1, 22)
	for sample := range uint64(50) {
		key := augment.Key{Sample: sample}
		c := augment.Config{Size: 28, Channels: 1, Crop: strong(28, 1).Crop}
		want := apply(t, c, img, key)
		c.Brightness = 0.4
		factor := augment.DrawFactor(0.4, key)
		got := apply(t, c, img, key)
		for i, v := range got {
			if v != min(1, want[i]*factor) {
				t.Fatalf("sample %d: the crop changed with the brightness", sample)
			}
		}
		want = got
		c.Occlude = strong(28, 1).Occlude
		c.Occlude.Value = -5
		for i, v := range apply(t, c, img, key) {
			if v != want[i] && v != -5 {
				t.Fatalf("sample %d: the crop or the brightness changed with the occlusion", sample)
			}
		}
	}
}

func TestConcurrentUseEqualsSerial(t *testing.T) {
	p := pipeline(t, strong(32, 3))
	images := []*augment.Image{noise(32, 32, 3, 23), noise(50, 40, 3, 24), noise(20, 60, 3, 25), noise(32, 32, 1, 26)}
	view := func(i int) []float32 {
		dst := make([]float32, p.Len())
		p.Apply(dst, images[i%len(images)], augment.Key{Sample: uint64(i)})
		return dst
	}
	want := make([][]float32, 64)
	for i := range want {
		want[i] = view(i)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for k := range want {
				i := (k + 8*g) % len(want)
				if !slices.Equal(view(i), want[i]) {
					t.Errorf("view %d differs", i)
				}
			}
		})
	}
	wg.Wait()
}

// The bits of many views, so that any change of them, or an architecture that rounds otherwise, is seen.
func TestGoldenBits(t *testing.T) {
	hash := fnv.New64a()
	for i := range uint64(40) {
		channels := 1 + 2*int(i%2)
		img := noise(20+int(i), 45-int(i/2), channels, i)
		key := augment.Key{Seed: 1, Epoch: i % 3, Sample: i, View: i % 2}
		for _, v := range apply(t, strong(24, channels), img, key) {
			b := math.Float32bits(v)
			hash.Write([]byte{byte(b), byte(b >> 8), byte(b >> 16), byte(b >> 24)})
		}
	}
	const want = 0x4f470272755a9045
	if got := hash.Sum64(); got != want {
		t.Errorf("the hash of the views is %#x, want %#x", got, uint64(want))
	}
}

func TestApplyDoesNotAllocate(t *testing.T) {
	img := noise(40, 30, 3, 27)
	p := pipeline(t, strong(28, 3))
	dst := make([]float32, p.Len())
	fewest := math.Inf(1) // a garbage collection, or the race detector, may empty the pool now and then
	for sample := range uint64(50) {
		fewest = min(fewest, testing.AllocsPerRun(1, func() { p.Apply(dst, img, augment.Key{Sample: sample}) }))
	}
	if fewest > 0 {
		t.Errorf("%g allocations a view", fewest)
	}
}
