package feed

import (
	"context"
	"sync"
)

// fetchers are how many blocks of images a feed fetches at the same time before they are needed.
const fetchers = 4

// ahead has what the lanes will use fetched early, so that a store's answer is there when its images are decoded. It is a
// help alone: what it did not get to is fetched when it is needed.
type ahead struct {
	config Config
	wanted chan int // numbers of images
}

func newAhead(c Config) *ahead { return &ahead{config: c, wanted: make(chan int, 1024)} }

// run fetches until wanted is closed or ctx has ended.
func (a *ahead) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range fetchers {
		wg.Go(func() {
			for number := range a.wanted {
				if ctx.Err() != nil {
					return
				}
				a.config.Data.Prefetch(ctx, number)
			}
		})
	}
	wg.Wait()
}

// want asks for the n images of the step that is Ahead steps after the one that begins at position of an epoch's order; at
// the epoch's first step, or first, for all up to that.
func (a *ahead) want(order []int, position, n int, first bool) {
	end := min(position+n*(a.config.Ahead+1), len(order))
	start := position + n
	if !first {
		start = position + n*a.config.Ahead
	}
	for _, number := range order[min(start, end):end] {
		select {
		case a.wanted <- number:
		default: // the fetchers are behind
			return
		}
	}
}
