package kernel_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pupil/internal/kernel"
)

func TestSelect(t *testing.T) {
	before := kernel.Name()
	defer func() {
		if err := kernel.Select(before); err != nil {
			t.Error(err)
		}
	}()
	if err := kernel.Select("generic"); err != nil || kernel.Name() != "generic" {
		t.Errorf("Select(generic) gives %v, and the kernel %s", err, kernel.Name())
	}
	err := kernel.Select("sse")
	if err == nil || !strings.Contains(err.Error(), `"sse"`) || !strings.Contains(err.Error(), "generic") {
		t.Errorf("an unknown kernel gives %v", err)
	}
	if kernel.Name() != "generic" {
		t.Errorf("a bad name chose %s", kernel.Name())
	}
	for _, name := range []string{"auto", ""} {
		if err := kernel.Select(name); err != nil || kernel.Name() == "auto" || kernel.Name() == "" {
			t.Errorf("Select(%q) gives %v, and the kernel %s", name, err, kernel.Name())
		}
	}
	classes := map[string]string{"generic": "generic", "avx2": "avx2", "avx512": "avx2"}
	for i, best := 2, kernel.Name(); i > 0; i-- {
		name := []string{"generic", "avx2", "avx512"}[i]
		err := kernel.Select(name)
		if name == best {
			best = []string{"generic", "avx2", "avx512"}[i-1] // the best one runs, and so do those below it
		} else if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the best kernel is %s, and %s gives %v", best, name, err)
		}
		if err == nil && (kernel.Name() != name || kernel.Class() != classes[name]) {
			t.Errorf("Select(%s) gives the kernel %s of class %s", name, kernel.Name(), kernel.Class())
		}
	}
}

// TestShort holds that slices which are too short for their shape panic before anything is written.
func TestShort(t *testing.T) {
	var ws kernel.Workspace
	g := kernel.Conv{N: 1, H: 4, W: 4, C: 8, K: 8, R: 3, S: 3, Stride: 1, Pad: 1}
	seven, wide, strided, longer := g, g, g, g
	seven.K, wide.Pad, strided.Stride, longer.Stride = 7, 2, 2, 3
	none := kernel.Epilogue{}
	v := func(n int) []float32 { return make([]float32, n) }
	y := v(128)
	for name, f := range map[string]func(){
		"x of ConvForward": func() { kernel.ConvForward(g, v(127), v(576), y, &ws) },
		"w of ConvForward": func() { kernel.ConvForward(g, v(128), v(575), y, &ws) },
		"y of ConvForward": func() { kernel.ConvForward(g, v(128), v(576), y[:127], &ws) },
		"filters":          func() { kernel.ConvForwardPacked(wide, v(128), kernel.Pack(3, 8, v(24), 8), none, y, &ws) },
		"shift": func() {
			kernel.ConvForwardPacked(g, v(128), kernel.PackConv(g, v(576)), kernel.Epilogue{Shift: v(7)}, y, &ws)
		},
		"residual": func() {
			kernel.ConvForwardPacked(g, v(128), kernel.PackWinograd(g, v(576)), kernel.Epilogue{Residual: y[1:]}, y, &ws)
		},
		"filters of Winograd": func() {
			kernel.ConvForwardPacked(strided, v(128), kernel.PackWinograd(g, v(576)), none, y, &ws)
		},
		"Winograd at stride 3": func() { kernel.PackWinograd(longer, v(576)) },
		"b of Pack":            func() { kernel.Pack(2, 3, v(5), 3) },
		"c of GemmPacked":      func() { kernel.GemmPacked(2, v(4), 2, kernel.Pack(2, 2, v(4), 2), none, y[:3], 2, &ws) },
		"dw":                   func() { kernel.ConvBackwardWeights(g, v(128), v(128), v(575), &ws) },
		"K of a depthwise":     func() { kernel.DepthwiseForward(seven, v(128), v(72), y, &ws) },
		"geometry": func() {
			kernel.ConvForward(kernel.Conv{N: 1, H: 2, W: 2, C: 1, K: 1, R: 3, S: 3, Stride: 1}, y, y, y, &ws)
		},
		"lda":                 func() { kernel.Gemm(false, false, 2, 2, 4, v(8), 3, v(8), 2, false, y, 2, &ws) },
		"a of Gemm":           func() { kernel.Gemm(false, false, 2, 2, 4, v(7), 4, v(8), 2, false, y, 2, &ws) },
		"gamma":               func() { kernel.BatchNormForward(2, 2, v(4), v(1), v(2), 1e-5, 0, y, v(2), v(2), v(2)) },
		"activation":          func() { kernel.ActForward(99, v(4), y) },
		"dst of ToFixed32":    func() { kernel.ToFixed32(make([]int32, 1), v(2), 0, 1) },
		"before of ToFixed16": func() { kernel.ToFixed16(make([]int16, 2), v(2), v(2), v(1), 0, 1) },
		"limit of ToFixed16":  func() { kernel.ToFixed16(make([]int16, 2), v(2), v(2), v(2), 0, -1) },
		"limit of ToFixed32":  func() { kernel.ToFixed32(make([]int32, 2), v(2), 0, -1) },
		"exponent":            func() { kernel.FromFixed32(y, make([]int32, 2), 1001) },
		"padding of a window": func() { kernel.MaxPoolForward(wide, v(128), v(1000), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if message, ok := recover().(string); !ok || !strings.HasPrefix(message, "kernel: ") {
					t.Errorf("no panic that names the kernel: %v", message)
				}
				if slices.ContainsFunc(y, func(v float32) bool { return v != 0 }) {
					t.Error("something was written")
				}
			}()
			f()
		})
	}
}

// TestAllocations holds that nothing allocates once a Workspace has grown.
func TestAllocations(t *testing.T) {
	each(t, func(t *testing.T) {
		var ws kernel.Workspace
		for _, g := range []kernel.Conv{
			{N: 2, H: 9, W: 9, C: 16, K: 16, R: 3, S: 3, Stride: 2, Pad: 1},
			{N: 2, H: 9, W: 9, C: 3, K: 3, R: 3, S: 3, Stride: 1, Pad: 1},
			{N: 2, H: 9, W: 9, C: 8, K: 8, R: 1, S: 1, Stride: 1, Pad: 0},
		} {
			oh, ow := g.Out()
			rows, c := g.N*oh*ow, g.K
			x, w, y := values(g.N*g.H*g.W*g.C, 1), values(g.R*g.S*g.C*g.K, 2), values(rows*c, 3)
			dx, dw, z := make([]float32, len(x)), make([]float32, len(w)), make([]float32, len(y))
			p := [6][]float32{}
			for i := range p {
				p[i] = values(max(c, g.N*c), uint64(i))
			}
			packed, squarePacked := kernel.PackConv(g, w), kernel.Pack(c, c, w, c)
			win := kernel.Conv{N: 1, H: 5, W: 3, C: 1, K: c, R: 3, S: 3, Stride: 1, Pad: 1}
			transformed := kernel.PackWinograd(win, values(9*c, 4))
			var m kernel.Moments
			var n kernel.Norm
			var ng, before kernel.NormGradient
			square, nine := values(c*c, 5), values(9*c, 6)
			one := kernel.Conv{N: 1, H: oh, W: ow, C: c, K: c, R: 1, S: 1, Stride: 1}
			own := kernel.Conv{N: 1, H: oh, W: ow, C: c, K: c, R: 1, S: 1, Stride: 1}
			three := kernel.Conv{N: 1, H: oh, W: ow, C: c, K: c, R: 3, S: 3, Stride: 1, Pad: 1}
			kernel.ConvForwardNorm(one, y, nil, w, z, &m, &ws)
			m.Norm(p[0], p[1], 1e-5, kernel.ReLU, p[2], p[3], p[4], &n)
			e := kernel.Epilogue{Shift: p[0], Residual: y, Act: kernel.ReLU}
			q, argmax := make([]int32, len(y)), make([]int32, len(y))
			for name, f := range map[string]func(){
				"ConvForward":          func() { kernel.ConvForward(g, x, w, z, &ws) },
				"ConvBackwardData":     func() { kernel.ConvBackwardData(g, y, w, dx, &ws) },
				"ConvBackwardWeights":  func() { kernel.ConvBackwardWeights(g, x, y, dw, &ws) },
				"DepthwiseForward":     func() { kernel.DepthwiseForward(g, x, w, z, &ws) },
				"DepthwiseForwardThen": func() { kernel.DepthwiseForwardThen(g, x, w, p[0], kernel.ReLU6, z, &ws) },
				"ConvForwardNorm":      func() { kernel.ConvForwardNorm(one, y, &n, w, z, &m, &ws) },
				"Norm":                 func() { m.Norm(p[0], p[1], 1e-5, kernel.ReLU, p[2], p[3], p[4], &n) },
				"BatchNormBackwardGathered": func() {
					kernel.ConvBackwardDataNorm(one, y, w, &n, y, z, &ng, &ws)
					kernel.DepthwiseBackwardDataNorm(own, y, w, &n, y, z, &ng, &ws)
					kernel.BatchNormBackwardGathered(&ng, p[3], z, p[4], p[5])
				},
				"ConvBackward": func() {
					ng.Gather(&n, y, y[:oh*ow*c], z)
					ng.Finish(p[3], p[4], p[5])
					kernel.ConvBackward(one, &kernel.Backward{After: &ng, X: y, In: &n, W: square, DX: z, S: &before, DW: square}, &ws)
				},
				"DepthwiseBackward": func() {
					if c%8 == 0 {
						kernel.DepthwiseForwardNorm(three, y, &n, nine, z, &m, &ws)
						ng.Gather(&n, y, y[:oh*ow*c], z)
						ng.Finish(p[3], p[4], p[5])
						kernel.DepthwiseBackward(three, &kernel.Backward{After: &ng, X: y, In: &n, W: nine, DX: z, S: &before, DW: nine}, &ws)
					}
				},
				"DepthwiseForwardNorm":         func() { kernel.DepthwiseForwardNorm(own, y, &n, w, z, &m, &ws) },
				"ConvBackwardWeightsNorm":      func() { kernel.ConvBackwardWeightsNorm(one, y, &n, y, dw, &ws) },
				"DepthwiseBackwardWeightsNorm": func() { kernel.DepthwiseBackwardWeightsNorm(own, y, &n, y, dw, &ws) },
				"ConvForwardPacked":            func() { kernel.ConvForwardPacked(g, x, packed, e, z, &ws) },
				"Winograd":                     func() { kernel.ConvForwardPacked(win, x, transformed, e, z, &ws) },
				"GemmPacked":                   func() { kernel.GemmPacked(c, w, c, squarePacked, e, z, c, &ws) },
				"DepthwiseBackwardData":        func() { kernel.DepthwiseBackwardData(g, y, w, dx, &ws) },
				"DepthwiseBackwardWeights":     func() { kernel.DepthwiseBackwardWeights(g, x, y, dw, &ws) },
				"Gemm":                         func() { kernel.Gemm(true, true, c, c, c, w, c, w, c, false, z, c, &ws) },
				"BatchNormForward": func() {
					kernel.BatchNormForward(rows, c, y, p[0], p[1], 1e-5, kernel.ReLU6, z, p[2], p[3], p[4])
				},
				"BatchNormBackward": func() {
					kernel.BatchNormBackward(rows, c, y, y, p[0], p[1], p[2], p[3], kernel.HardSwish, z, p[4], p[5])
				},
				"ScaleShift":            func() { kernel.ScaleShift(rows, c, y, p[0], p[1], kernel.ReLU, z) },
				"ActForward":            func() { kernel.ActForward(kernel.ReLU, y, z) },
				"ActBackward":           func() { kernel.ActBackward(kernel.ReLU, y, y, z) },
				"Add":                   func() { kernel.Add(y, y, z) },
				"AddBias":               func() { kernel.AddBias(rows, c, z, p[0]) },
				"SumRows":               func() { kernel.SumRows(rows, c, y, p[5]) },
				"GlobalAvgPoolForward":  func() { kernel.GlobalAvgPoolForward(g.N, oh*ow, c, y, p[5]) },
				"GlobalAvgPoolBackward": func() { kernel.GlobalAvgPoolBackward(g.N, oh*ow, c, p[0], z) },
				"ScaleChannels":         func() { kernel.ScaleChannels(g.N, oh*ow, c, y, p[0], z) },
				"ScaleChannelsBackward": func() { kernel.ScaleChannelsBackward(g.N, oh*ow, c, y, p[0], y, z, p[5]) },
				"MaxPoolForward":        func() { kernel.MaxPoolForward(g, x, z, argmax) },
				"MaxPoolBackward":       func() { kernel.MaxPoolBackward(g, y, argmax, dx) },
				"ToFixed32":             func() { kernel.ToFixed32(q, y, -20, 1<<24) },
				"AddFixed32":            func() { kernel.AddFixed32(argmax[:0], q[:0]); kernel.AddFixed32(q, q) },
				"FromFixed32":           func() { kernel.FromFixed32(z, q, -20) },
			} {
				clear(argmax)
				if n := testing.AllocsPerRun(5, f); n != 0 {
					t.Errorf("%s of %+v allocates %v times", name, g, n)
				}
			}
		}
	})
}

// TestRegisters holds that functions for AVX2 use no registers that only AVX-512 has.
func TestRegisters(t *testing.T) {
	code, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	wide := regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|Z\d+|K[0-7])\b`)
	skip := false
	for i, line := range strings.Split(string(code), "\n") {
		if strings.HasPrefix(line, "TEXT") {
			skip = strings.Contains(line, "AVX512(")
		}
		if found := wide.FindString(line); found != "" && !skip {
			t.Errorf("kernels_amd64.s:%d uses %s", i+1, found)
		}
	}
}
