package kernel_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"math"
	"strings"
	"testing"
	"unsafe"

	"pupil/internal/kernel"
	"pupil/internal/random"
)

// number is what kernels work on.
type number interface {
	~float32 | ~float64 | ~uint8 | ~int16 | ~int32 | ~int64
}

// canary fills the memory around a slice, and is the initial contents of outputs: a NaN as a float.
const canary = 0xff

// arena hands out slices whose neighbourhood is watched: one end touches memory that cannot be accessed (see pages), so
// that a read or write beyond it ends the test; the other end is followed by canaries. Ends alternate.
type arena struct {
	t     *testing.T
	count int
	check []func()
	bits  hash.Hash
}

func newArena(t *testing.T) *arena {
	a := &arena{t: t, bits: sha256.New()}
	t.Cleanup(func() {
		for _, f := range a.check {
			f()
		}
		a.compare()
	})
	return a
}

// left is what tests have left in their arenas, by the test's name with the class of its kernels in place of their name,
// and by how many arenas the test had before, which arenas counts.
var (
	left   = map[string]result{}
	arenas = map[string]int{}
)

type result struct {
	kernel string
	bits   [sha256.Size]byte
}

// compare holds that an arena's slices end with the bits that they had with another implementation of the same class.
func (a *arena) compare() {
	a.t.Helper()
	name := a.t.Name()
	r := result{kernel.Name(), [sha256.Size]byte(a.bits.Sum(nil))}
	key := fmt.Sprintf("%s#%d", strings.Replace(name, "/"+r.kernel, "/"+kernel.Class(), 1), arenas[name])
	arenas[name]++
	if before, ok := left[key]; ok && before.bits != r.bits {
		a.t.Errorf("%s kernels leave other bits than %s kernels", r.kernel, before.kernel)
	}
	left[key] = r
}

// output returns a slice of n values, none of which is set.
func output[T number](a *arena, n int) []T {
	const pad = 64
	size := int(unsafe.Sizeof(*new(T)))
	b, release := pages((n + pad) * size)
	for i := range b {
		b[i] = canary
	}
	at := 0 // the slice begins right behind the forbidden page
	if a.count++; a.count%2 == 1 {
		at = len(b) - n*size // or it ends right before one
	}
	t := a.t
	a.check = append(a.check, func() {
		a.bits.Write(b)
		for i, v := range b {
			if (i < at || i >= at+n*size) && v != canary {
				t.Errorf("byte %d of a slice of %d bytes was written", i-at, n*size)
				break
			}
		}
		release()
	})
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[at])), n)
}

// input returns a slice of the values that next gives.
func input[T number](a *arena, n int, next func() float64) []T {
	v := output[T](a, n)
	for i := range v {
		v[i] = T(next())
	}
	return v
}

// normal gives normally distributed values that depend on words.
func normal(words ...uint64) func() float64 {
	return random.New(append([]uint64{random.PurposeTest}, words...)...).Normal
}

// each runs a test with every implementation that this CPU has.
func each(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	before := kernel.Name()
	defer func() {
		if err := kernel.Select(before); err != nil {
			t.Error(err)
		}
	}()
	for _, name := range []string{"generic", "avx2", "avx512"} {
		if err := kernel.Select(name); err != nil {
			t.Logf("%s is not tested: %v", name, err)
			continue
		}
		t.Run(name, f)
	}
}

// sum is a float64 sum and the sum of its terms' magnitudes, which bounds the error of computing it in float32.
type sum struct {
	value, magnitude float64
	terms            int
}

func (s *sum) add(v float64) {
	s.value += v
	s.magnitude += math.Abs(v)
	s.terms++
}

// close tells whether a float32 sum is what it should be: rounding errors add up like a random walk.
func (s *sum) close(got float32) bool {
	const epsilon = 0x1p-24
	bound := s.magnitude*epsilon*(4+4*math.Sqrt(float64(s.terms))) + 1e-37
	return math.Abs(float64(got)-s.value) <= bound
}

func compare(t *testing.T, what string, got []float32, want []sum) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !want[i].close(got[i]) {
			t.Fatalf("%s[%d] = %v, want %v (magnitude %v, %d terms)",
				what, i, got[i], want[i].value, want[i].magnitude, want[i].terms)
		}
	}
}

// near compares with a tolerance relative to the larger of 1 and the value.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i])-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}

// same compares bits.
func same[T number](t *testing.T, what string, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s[%d] = %v, want %v", what, i, got[i], want[i])
		}
	}
}
