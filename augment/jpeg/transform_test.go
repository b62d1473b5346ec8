package jpeg

import (
	"math"
	"testing"

	"pupil/internal/random"
)

// slow is the inverse transform by its definition (A.3.3), with the level shift.
func slow(b [64]int32) (out [64]float64) {
	for i := range out {
		sum := 0.0
		for k, v := range b {
			f := float64(v) / 4
			if k%8 == 0 {
				f *= math.Sqrt2 / 2
			}
			if k/8 == 0 {
				f *= math.Sqrt2 / 2
			}
			sum += f * math.Cos(float64(2*(i%8)+1)*float64(k%8)*math.Pi/16) *
				math.Cos(float64(2*(i/8)+1)*float64(k/8)*math.Pi/16)
		}
		out[i] = min(max(sum+128, 0), 255)
	}
	return out
}

func TestInvertAgainstDefinition(t *testing.T) {
	s := random.New(random.PurposeTest, 31)
	for trial := range 300 {
		var b [64]int32
		for range 1 + trial%64 {
			b[s.IntN(64)] = int32(s.IntN(801) - 400)
		}
		want, dst := slow(b), make([]uint8, 8*11)
		invert(&b, dst, 11)
		for i, w := range want {
			if d := math.Abs(float64(dst[i/8*11+i%8]) - w); d > 1 {
				t.Fatalf("trial %d: sample %d is %d, want %.3f", trial, i, dst[i/8*11+i%8], w)
			}
		}
	}
}

func TestFlatIsInvert(t *testing.T) {
	for dc := int32(-3000); dc <= 3000; dc++ {
		a, b := make([]uint8, 64), make([]uint8, 64)
		flat(dc, a, 8)
		invert(&[64]int32{dc}, b, 8)
		if string(a) != string(b) {
			t.Fatalf("DC %d: %d and %d", dc, a[0], b[0])
		}
	}
}
