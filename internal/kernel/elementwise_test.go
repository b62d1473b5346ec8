package kernel_test

import (
	"fmt"
	"math"
	"testing"

	"pupil/internal/kernel"
)

// lengths are around what kernels handle at once.
var lengths = []int{0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100}

func TestActivation(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, n := range lengths {
			for _, a := range activations {
				arena, next := newArena(t), normal(30, uint64(n))
				x := input[float32](arena, n, func() float64 { return 4 * next() })
				for i, kink := range []float32{0, 3, -3, 6} {
					if i < n {
						x[i] = kink
					}
				}
				dy := input[float32](arena, n, next)
				y, dx := output[float32](arena, n), output[float32](arena, n)
				wantY, wantX := make([]float64, n), make([]float64, n)
				for i, v := range x {
					wantY[i], wantX[i] = act(a, float64(v)), float64(dy[i])*slope(a, float64(v))
				}
				kernel.ActForward(a, x, y)
				near(t, fmt.Sprint(a), y, wantY, 1e-6)
				kernel.ActBackward(a, x, dy, dx)
				near(t, fmt.Sprint(a, " backward"), dx, wantX, 1e-6)
				kernel.ActBackward(a, x, dy, dy)
				same(t, "dx in dy", dy, dx)
				kernel.ActForward(a, x, x)
				same(t, "y in x", x, y)
			}
		}
	})
}

// TestActivationNaN holds that an activation does not hide a NaN.
func TestActivationNaN(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, a := range activations {
			x := []float32{1, float32(math.NaN()), -1, 7, 0, 0, 0, 0, float32(math.NaN())}
			kernel.ActForward(a, x, x)
			for i, v := range x {
				if (v != v) != (i == 1 || i == 8) {
					t.Errorf("%v: value %d became %v", a, i, v)
				}
			}
		}
	})
	if got := kernel.Activation(9).String() + kernel.HardSwish.String(); got != "Activation(9)HardSwish" {
		t.Errorf("names are %s", got)
	}
}

func TestAdd(t *testing.T) {
	each(t, func(t *testing.T) {
		for _, n := range lengths {
			arena, next := newArena(t), normal(31, uint64(n))
			x, y, z := input[float32](arena, n, next), input[float32](arena, n, next), output[float32](arena, n)
			want := make([]float32, n)
			for i := range want {
				want[i] = x[i] + y[i]
			}
			kernel.Add(x, y, z)
			same(t, "z", z, want)
			kernel.Add(x, y, x)
			same(t, "z in x", x, want)
		}
	})
}

func TestRows(t *testing.T) {
	each(t, func(t *testing.T) {
		for i, s := range [][2]int{{1, 1}, {3, 5}, {40, 16}, {17, 140}, {2, 300}, {0, 9}} {
			rows, c := s[0], s[1]
			arena, next := newArena(t), normal(32, uint64(i))
			x, b := input[float32](arena, rows*c, next), input[float32](arena, c, next)
			out := output[float32](arena, c)
			sums, want := make([]float64, c), make([]float32, rows*c)
			for i, v := range x {
				sums[i%c] += float64(v)
				want[i] = v + b[i%c]
			}
			kernel.SumRows(rows, c, x, out)
			near(t, "sums", out, sums, 1e-7)
			kernel.AddBias(rows, c, x, b)
			same(t, "x + b", x, want)
		}
	})
}

func TestPerImage(t *testing.T) {
	each(t, func(t *testing.T) {
		for i, s := range [][3]int{{1, 1, 1}, {2, 9, 8}, {3, 49, 13}, {2, 4, 200}, {0, 4, 4}} {
			n, hw, c := s[0], s[1], s[2]
			arena, next := newArena(t), normal(33, uint64(i))
			x, dy := input[float32](arena, n*hw*c, next), input[float32](arena, n*hw*c, next)
			f := input[float32](arena, n*c, next)
			y, dx, df := output[float32](arena, n*hw*c), output[float32](arena, n*hw*c), output[float32](arena, n*c)
			pooled, dpooled := output[float32](arena, n*c), output[float32](arena, n*hw*c)
			wantY, wantX, wantP := make([]float64, n*hw*c), make([]float64, n*hw*c), make([]float64, n*hw*c)
			wantF, wantPooled := make([]float64, n*c), make([]float64, n*c)
			for i := range x {
				k := i/(hw*c)*c + i%c
				wantY[i], wantX[i] = float64(x[i])*float64(f[k]), float64(dy[i])*float64(f[k])
				wantF[k] += float64(x[i]) * float64(dy[i])
				wantPooled[k] += float64(x[i]) / float64(hw)
				wantP[i] = float64(f[k]) / float64(hw)
			}
			kernel.ScaleChannels(n, hw, c, x, f, y)
			near(t, "y", y, wantY, 1e-7)
			kernel.ScaleChannelsBackward(n, hw, c, x, f, dy, dx, df)
			near(t, "dx", dx, wantX, 1e-7)
			near(t, "ds", df, wantF, 1e-7)
			kernel.ScaleChannelsBackward(n, hw, c, x, f, dy, dy, df)
			same(t, "dx in dy", dy, dx)
			kernel.GlobalAvgPoolForward(n, hw, c, x, pooled)
			near(t, "mean", pooled, wantPooled, 1e-7)
			kernel.GlobalAvgPoolBackward(n, hw, c, f, dpooled)
			near(t, "gradient of the mean", dpooled, wantP, 1e-7)
		}
	})
}

func TestMaxPool(t *testing.T) {
	each(t, func(t *testing.T) {
		for i, g := range shapes() {
			g.K = g.C
			if 2*g.Pad > min(g.R, g.S) {
				continue
			}
			t.Run(fmt.Sprintf("%+v", g), func(t *testing.T) { checkMaxPool(t, g, uint64(i)) })
		}
	})
}

func checkMaxPool(t *testing.T, g kernel.Conv, seed uint64) {
	arena, next := newArena(t), normal(34, seed)
	oh, ow := g.Out()
	// Few different values, so that there are equals.
	x := input[float32](arena, g.N*g.H*g.W*g.C, func() float64 { return math.Round(2 * next()) })
	if len(x) > 20 {
		x[len(x)/2] = float32(math.NaN())
	}
	dy := input[float32](arena, g.N*oh*ow*g.C, next)
	y, dx, argmax := output[float32](arena, len(dy)), output[float32](arena, len(x)), output[int32](arena, len(dy))
	only := output[float32](arena, len(dy))
	wantY, wantX, wantAt := make([]float32, len(y)), make([]float32, len(x)), make([]int32, len(y))
	for i := range wantAt {
		wantAt[i] = -1
	}
	taps(g, func(n, out, in, _ int) {
		for c := range g.C {
			v, i := x[in*g.C+c], out*g.C+c
			if wantAt[i] < 0 || v > wantY[i] || v != v && wantY[i] == wantY[i] {
				wantY[i], wantAt[i] = v, int32(in-n*g.H*g.W)
			}
		}
	})
	for i, at := range wantAt {
		n := i / (oh * ow * g.C)
		wantX[(n*g.H*g.W+int(at))*g.C+i%g.C] += dy[i]
	}
	kernel.MaxPoolForward(g, x, y, argmax)
	kernel.MaxPoolForward(g, x, only, nil)
	for i := range y {
		if math.Float32bits(y[i]) != math.Float32bits(wantY[i]) && y[i] != wantY[i] {
			t.Fatalf("y[%d] = %v, want %v", i, y[i], wantY[i])
		}
		if (only[i] != only[i]) != (y[i] != y[i]) || only[i] == only[i] && only[i] != y[i] {
			t.Fatalf("without argmax, y[%d] = %v, want %v", i, only[i], y[i])
		}
	}
	same(t, "argmax", argmax, wantAt)
	kernel.MaxPoolBackward(g, dy, argmax, dx)
	same(t, "dx", dx, wantX)
}

func TestMultiplyAdds(t *testing.T) {
	each(t, func(t *testing.T) {
		if n := kernel.MultiplyAdds(5); n != 2*5*192 {
			t.Errorf("%v operations", n)
		}
		defer func() {
			if recover() == nil {
				t.Error("no panic without rounds")
			}
		}()
		kernel.MultiplyAdds(0)
	})
}
