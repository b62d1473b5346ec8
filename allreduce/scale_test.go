package allreduce_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"pupil/allreduce"
	"pupil/internal/random"
)

func update(t *testing.T, s *allreduce.Scaler, largest float64, saturated int) int {
	t.Helper()
	if err := s.Update([]float64{largest}, []int{saturated}); err != nil {
		t.Fatal(err)
	}
	return s.Exponents()[0]
}

// The exponent is the smallest with which 2^8 times the largest recent sum fits the limit.
func TestScalerHeadroom(t *testing.T) {
	rng := random.New(random.PurposeTest, 2)
	for _, lanes := range []int{1, 2, 3, 7, 8, 64, 1000, 1 << 20} {
		limit := float64(allreduce.NewScaler(1, lanes).Limit())
		if limit != math.Floor((1<<31-1)/float64(lanes)) {
			t.Errorf("%d lanes: limit %v", lanes, limit)
		}
		largest := []float64{1, 0.5, 3, 1e-30, 1e30, limit, limit / 256}
		largest = append(largest, math.Nextafter(limit, 0), math.Nextafter(limit, 1e300))
		for range 200 {
			largest = append(largest, math.Ldexp(1+rng.Float64(), rng.IntN(120)-90))
		}
		for _, x := range largest {
			s := allreduce.NewScaler(1, lanes)
			e := update(t, s, x, 0)
			// Exact: scaling by powers of two does not round here.
			if fits := math.Ldexp(x, 8-e) <= limit; !fits && e < allreduce.MaxExponent {
				t.Errorf("%d lanes: 2^8 * %v does not fit with exponent %d", lanes, x, e)
			}
			if fits := math.Ldexp(x, 9-e) <= limit; fits && e > allreduce.MinExponent {
				t.Errorf("%d lanes: %v would fit with an exponent under %d", lanes, x, e)
			}
			if unit := math.Ldexp(1, e); e > allreduce.MinExponent && e < allreduce.MaxExponent && unit >= 512*x/limit {
				t.Errorf("%d lanes: a unit of %v is too coarse for %v", lanes, unit, x)
			}
		}
	}
}

func TestScalerHistory(t *testing.T) {
	s := allreduce.NewScaler(1, 8)
	high := update(t, s, 1, 0)
	for i := range 15 {
		if e := update(t, s, 1.0/1024, 0); e != high {
			t.Fatalf("step %d after the largest: exponent %d, want %d", i+1, e, high)
		}
	}
	if e := update(t, s, 1.0/1024, 0); e != high-10 {
		t.Errorf("16 steps after the largest: exponent %d, want %d", e, high-10)
	}
	for range 15 {
		update(t, s, 0, 0)
	}
	if e := s.Exponents()[0]; e != high-10 {
		t.Errorf("15 sums of zero: exponent %d, want %d kept", e, high-10)
	}
	for range 5 {
		update(t, s, 0, 0)
	}
	const lowest = -39 // 2^-12 <= (2^28 - 1) 2^-39
	if e := update(t, s, 0, 0); e != lowest {
		t.Errorf("sums of zero: exponent %d, want %d", e, lowest)
	}
	if e := update(t, s, 4, 0); e != high+2 {
		t.Errorf("growth: exponent %d, want %d", e, high+2)
	}
}

// Gradients that are too small for the first unit are seen after a few steps, not never.
func TestScalerFindsSmallValues(t *testing.T) {
	for _, x := range []float64{1e-6, 1e-8, 1e-10} {
		s := allreduce.NewScaler(1, 8)
		for step := 1; ; step++ {
			e := s.Exponents()[0]
			sum := math.Ldexp(8*math.RoundToEven(math.Ldexp(x, -e)), e) // of 8 lanes that have x each
			if sum > 0 {
				break
			}
			if step == 4 {
				t.Errorf("values of %g still round to 0 in step %d, with exponent %d", x, step, e)
				break
			}
			update(t, s, sum, 0)
		}
	}
}

func TestScalerSaturation(t *testing.T) {
	s := allreduce.NewScaler(1, 8)
	e := update(t, s, 1, 0)
	for range 5 {
		next := update(t, s, 1, 1)
		if next != e+4 {
			t.Fatalf("after saturation: exponent %d, want %d", next, e+4)
		}
		e = next
	}
	if next := update(t, s, 1e20, 1); next <= e+4 {
		t.Errorf("saturation with a large sum: exponent %d, want more than %d", next, e+4)
	}
	for range 40 {
		e = update(t, s, 1, math.MaxInt)
	}
	if e != allreduce.MaxExponent {
		t.Errorf("exponent %d, want %d at most", e, allreduce.MaxExponent)
	}
	for _, x := range []float64{math.NaN(), math.Inf(1), math.MaxFloat64} {
		if e := update(t, allreduce.NewScaler(1, 8), x, 0); e != allreduce.MaxExponent {
			t.Errorf("%v: exponent %d", x, e)
		}
	}
	if e := update(t, allreduce.NewScaler(1, 8), math.SmallestNonzeroFloat64, 0); e != allreduce.MinExponent {
		t.Errorf("the smallest number: exponent %d", e)
	}
}

func TestScalerExpect(t *testing.T) {
	s := allreduce.NewScaler(2, 8)
	s.Expect(1, 1.0/16)
	if e := s.Exponents(); e[0]-e[1] != 12 || math.Ldexp(256, -e[0]) > float64(s.Limit()) {
		t.Errorf("exponents %v for values up to 256 and 1/16", e)
	}
	s.Expect(0, 0)
	s.Expect(1, math.NaN())
	if e := s.Exponents(); !slices.Equal(e, []int{allreduce.MinExponent, allreduce.MaxExponent}) {
		t.Errorf("exponents %v for values of 0 and NaN", e)
	}
}

// A Scaler that was written and read goes on as the one that was not.
func TestScalerJSON(t *testing.T) {
	rng := random.New(random.PurposeTest, 3)
	one := allreduce.NewScaler(5, 6)
	other := one
	for step := range 60 {
		largest, saturated := make([]float64, 5), make([]int, 5)
		for i := range largest {
			largest[i] = math.Ldexp(rng.Float64(), rng.IntN(40)-20)
			if rng.IntN(10) == 0 {
				saturated[i] = 1
			}
		}
		for _, s := range []*allreduce.Scaler{one, other} {
			if err := s.Update(largest, saturated); err != nil {
				t.Fatal(err)
			}
		}
		a, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		read := &allreduce.Scaler{}
		if err := json.Unmarshal(a, read); err != nil {
			t.Fatal(err)
		}
		other = read
		b, err := json.Marshal(other)
		if err != nil || string(a) != string(b) || !slices.Equal(one.Exponents(), other.Exponents()) {
			t.Fatalf("step %d: %s became %s, error %v", step, a, b, err)
		}
	}
}

func TestScalerRefuses(t *testing.T) {
	s := allreduce.NewScaler(2, 8)
	for _, test := range []struct{ state, want string }{
		{`{`, "unexpected end"},
		{`{"lanes":0,"exponents":[1,2]}`, "lanes is 0"},
		{`{"lanes":8,"exponents":[1]}`, "1 tensors and 8 lanes; here there are 2"},
		{`{"lanes":9,"exponents":[1,2]}`, "2 tensors and 9 lanes"},
		{`{"lanes":8,"exponents":[1,200]}`, "exponent 1 is 200"},
		{`{"lanes":8,"exponents":[1,2],"needs":[[1]]}`, "needs 0 has 1 tensors"},
		{`{"lanes":8,"exponents":[1,2],"needs":[[1,-999]]}`, "needs 0 has an exponent of -999"},
		{`{"lanes":8,"exponents":[1,2],"needs":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]}`, "needs has 17 steps"},
	} {
		before := s.Exponents()
		if err := json.Unmarshal([]byte(test.state), s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v; want %q", test.state, err, test.want)
		}
		if !slices.Equal(s.Exponents(), before) {
			t.Errorf("%s changed the state", test.state)
		}
	}
	err := s.Update([]float64{1}, []int{0, 0})
	if err == nil || !strings.Contains(err.Error(), "1 magnitudes and 2 counts for 2 tensors") {
		t.Errorf("error %v", err)
	}
}

func FuzzScaler(f *testing.F) {
	f.Add([]byte(`{"lanes":8,"exponents":[1,2],"needs":[[1,2],[-150,4]]}`), 0.5)
	f.Add([]byte(`{"lanes":1,"exponents":[]}`), 1e300)
	f.Fuzz(func(t *testing.T, state []byte, largest float64) {
		s := &allreduce.Scaler{}
		if json.Unmarshal(state, s) != nil {
			return
		}
		n := len(s.Exponents())
		if err := s.Update(slices.Repeat([]float64{largest}, n), make([]int, n)); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Exponents() {
			if e < allreduce.MinExponent || e > allreduce.MaxExponent {
				t.Errorf("exponent %d", e)
			}
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
