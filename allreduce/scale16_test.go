package allreduce_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/internal/random"
)

// lane16 is a lane with error feedback over one tensor.
type lane16 struct {
	id       uint64
	residual []float32
	given    []float64 // by element: the sum of its values over all steps
}

// give adds the lane's fixed-point values of a step to sum, and returns how many saturated.
func (l *lane16) give(step uint64, exponent int, limit int32, sum []int16) (saturated int) {
	rng := random.New(random.PurposeTest, 77, l.id, step)
	up, down := math.Ldexp(1, -exponent), math.Ldexp(1, exponent)
	for i := range sum {
		x := float32(rng.Normal()) * float32(math.Ldexp(1, -(i%12))) // of many sizes
		if step%9 == 4 {
			x *= 40 // more than the headroom
		}
		if l.given != nil {
			l.given[i] += float64(x)
		}
		x += l.residual[i]
		q := math.RoundToEven(float64(x) * up)
		if math.Abs(q) > float64(limit) {
			q = math.Copysign(float64(limit), q)
			saturated++
		}
		sum[i] += int16(q)
		l.residual[i] = x - float32(q*down)
	}
	return saturated
}

// sums16 runs steps of 8 lanes, spread over ranks by carrier, and returns the exponents, the numbers of saturated
// values and the sums of all steps, and the residuals, as text.
func sums16(t *testing.T, size int, carrier func(lane int) int, lossy bool) string {
	const lanes, steps, n = 8, 30, 300
	var text []string
	var residuals [lanes][]float32
	synctest.Test(t, func(t *testing.T) {
		mem, all := links(size)
		for rank, l := range mem {
			if lossy {
				rng := random.New(random.PurposeTest, 8, uint64(rank))
				l.SetFault(fault(rng, 0.02, 0.02, 0.05, 0.02, 0.02, 0.02))
			}
		}
		g := linktest.Start(t, all, allreduce.Config{Job: "int16", Generation: 1, ChunkBytes: 64})
		for rank, err := range g.Each(func(rank int, r *allreduce.Ring) error {
			scaler, err := allreduce.NewScaler16(1, lanes)
			if err != nil {
				return err
			}
			var mine []*lane16
			for id := range lanes {
				if carrier(id) == rank {
					mine = append(mine, &lane16{id: uint64(id), residual: make([]float32, n)})
				}
			}
			for step := range uint64(steps) {
				e := scaler.Exponents()[0]
				sum, saturated := make([]int16, n), make([]int32, 1)
				for _, l := range mine {
					saturated[0] += int32(l.give(step, e, scaler.Limit(), sum))
				}
				if err := errors.Join(r.ReduceInt16(t.Context(), step, 0, sum), r.ReduceInt32(t.Context(), step, 1, saturated),
					r.Commit(t.Context(), step)); err != nil {
					return err
				}
				largest := 0.0
				for _, q := range sum {
					largest = max(largest, math.Ldexp(math.Abs(float64(q)), e))
				}
				if rank == 0 {
					text = append(text, fmt.Sprint(e, saturated, sum))
				}
				if err := scaler.Update([]float64{largest}, []int{int(saturated[0])}); err != nil {
					return err
				}
			}
			for _, l := range mine {
				residuals[l.id] = l.residual
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("%d ranks, rank %d: %v", size, rank, err)
			}
		}
		g.Stop()
	})
	for _, r := range residuals {
		text = append(text, fmt.Sprintf("%x", r))
	}
	return strings.Join(text, "\n")
}

// Sums of 16 bits with error feedback are the same bits for any number of ranks, any spread of the lanes over them, and
// any loss.
func TestSums16OfAnyPlan(t *testing.T) {
	want := sums16(t, 1, func(int) int { return 0 }, false)
	if saturated := strings.Count(want, " [0] ["); saturated == 30 || saturated == 0 {
		t.Fatalf("%d of 30 steps without saturation; the test needs both", saturated)
	}
	for size := 2; size <= 8; size++ {
		for name, carrier := range map[string]func(lane int) int{
			"in turn":        func(lane int) int { return lane % size },
			"in runs":        func(lane int) int { return lane * size / 8 },
			"all by the end": func(int) int { return size - 1 },
		} {
			if got := sums16(t, size, carrier, size%2 == 0); got != want {
				t.Errorf("%d ranks, lanes %s: other sums", size, name)
			}
		}
	}
}

// What a step rounds or clamps away comes with later ones: over many steps, the sums and the residuals that are left
// make up all that was given.
func TestSums16LoseNothing(t *testing.T) {
	const n, steps = 40, 60
	s, err := allreduce.NewScaler16(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	l := &lane16{id: 1, residual: make([]float32, n), given: make([]float64, n)}
	sums, size := make([]float64, n), make([]float64, n)
	for step := range uint64(steps) {
		e := s.Exponents()[0]
		sum := make([]int16, n)
		saturated := l.give(step, e, s.Limit(), sum)
		largest := 0.0
		for i, q := range sum {
			x := math.Ldexp(float64(q), e)
			sums[i] += x
			size[i] += math.Abs(x)
			largest = max(largest, math.Abs(x))
		}
		if err := s.Update([]float64{largest}, []int{saturated}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if d := math.Abs(l.given[i] - sums[i] - float64(l.residual[i])); d > size[i]*0x1p-20 {
			t.Errorf("element %d: %g was given; sums and residual differ by %g from it", i, l.given[i], d)
		}
		if size[i] == 0 {
			t.Errorf("element %d never got through", i)
		}
	}
}

// Any part of the lanes fits an int16, at the largest values.
func TestScaler16Limit(t *testing.T) {
	for _, lanes := range []int{1, 2, 3, 7, 8, 64, 100, allreduce.Fixed16.MaxLanes()} {
		s, err := allreduce.NewScaler16(2, lanes)
		if err != nil {
			t.Fatal(err)
		}
		limit := int(s.Limit())
		if limit*lanes > math.MaxInt16 || (limit+1)*lanes <= math.MaxInt16 || limit < 127 {
			t.Errorf("%d lanes: limit %d", lanes, limit)
		}
		if e := s.Exponents()[0]; math.Ldexp(1, -e) > float64(limit) || math.Ldexp(1, 1-e) <= float64(limit) {
			t.Errorf("%d lanes: exponent %d for values up to 1, limit %d", lanes, e, limit)
		}
		e := update(t, must16(t, 1, lanes), 3, 0)
		if math.Ldexp(6, -e) > float64(limit) || math.Ldexp(12, -e) <= float64(limit) {
			t.Errorf("%d lanes: exponent %d after a sum of 3, limit %d", lanes, e, limit)
		}
		s = must16(t, 1, lanes)
		first := s.Exponents()[0]
		if e := update(t, s, 0.001, 1); e != first+1 {
			t.Errorf("%d lanes: exponent %d after saturation, want %d", lanes, e, first+1)
		}
	}
	for _, lanes := range []int{allreduce.Fixed16.MaxLanes() + 1, 1 << 40} {
		_, err := allreduce.NewScaler16(1, lanes)
		if err == nil || !strings.Contains(err.Error(), "take 258 lanes") {
			t.Errorf("%d lanes: error %v", lanes, err)
		}
	}
}

func must16(t *testing.T, tensors, lanes int) *allreduce.Scaler {
	t.Helper()
	s, err := allreduce.NewScaler16(tensors, lanes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The format is part of the state: a job does not change it by resuming.
func TestScaler16JSON(t *testing.T) {
	s := must16(t, 1, 8)
	update(t, s, 0.3, 0)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	read := &allreduce.Scaler{}
	if err := json.Unmarshal(data, read); err != nil || read.Format() != allreduce.Fixed16 || read.Limit() != 4095 ||
		!slices.Equal(read.Exponents(), s.Exponents()) {
		t.Errorf("%s: %v, limit %d, error %v", data, read.Exponents(), read.Limit(), err)
	}
	for state, want := range map[string]string{
		string(data): `one of the format "fixed16"`,
		`{"format":"fixed8","lanes":8,"exponents":[1]}`:    `format is "fixed8"`,
		`{"format":"fixed16","lanes":259,"exponents":[1]}`: "lanes is 259; it must be 1 to 258",
	} {
		err := json.Unmarshal([]byte(state), allreduce.NewScaler(1, 8))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", state, err, want)
		}
	}
}

// Values beyond the limit are an error on every rank, not a wrong sum.
func TestOverflow16(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, all := links(3)
		g := linktest.Start(t, all, allreduce.Config{Generation: 1})
		for rank, err := range g.Each(func(_ int, r *allreduce.Ring) error {
			v := make([]int16, 5000)
			v[4321] = 20_000
			return r.ReduceInt16(t.Context(), 0, 0, v)
		}) {
			if !strings.Contains(fmt.Sprint(err), "beyond the range of int16") ||
				!errors.Is(err, allreduce.ErrOverflow) && !errors.Is(err, allreduce.ErrAborted) {
				t.Errorf("rank %d: %v", rank, err)
			}
		}
		g.Stop()
	})
}
