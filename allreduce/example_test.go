package allreduce_test

import (
	"context"
	"fmt"
	"sync"

	"pupil/allreduce"
	"pupil/allreduce/memlink"
)

// Three ranks, which in life are three processes with a natslink each, sum their vectors.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running, working sync.WaitGroup
	sums := make([][]int32, 3)
	for rank, link := range memlink.New(3) {
		ring, err := allreduce.New(link, allreduce.Config{Job: "faces", Generation: 1, Rank: rank, Size: 3})
		if err != nil {
			fmt.Println(err)
			return
		}
		running.Go(func() {
			if err := ring.Run(ctx); err != nil {
				fmt.Println(err)
			}
		})
		working.Go(func() {
			sums[rank] = []int32{int32(rank), 10, -5}
			if err := ring.ReduceInt32(ctx, 0, 0, sums[rank]); err != nil {
				fmt.Println(err)
				return
			}
			if err := ring.Commit(ctx, 0); err != nil {
				fmt.Println(err)
			}
		})
	}
	working.Wait()
	cancel()
	running.Wait()
	fmt.Println(sums)
	// Output: [[3 30 -15] [3 30 -15] [3 30 -15]]
}

// A tensor whose sums stay near 0.5 gets an exponent with 2^8 of headroom.
func ExampleScaler() {
	s := allreduce.NewScaler(1, 8)
	fmt.Println("before the first step:", s.Exponents())
	if err := s.Update([]float64{0.5}, []int{0}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("after a sum of 0.5:   ", s.Exponents())
	if err := s.Update([]float64{0.5}, []int{3}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("after saturation:     ", s.Exponents())
	// Output:
	// before the first step: [-19]
	// after a sum of 0.5:    [-20]
	// after saturation:      [-16]
}
