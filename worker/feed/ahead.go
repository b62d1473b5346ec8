package feed

import (
	"context"
	"sync"
)

// fetchers are how many requests for images a feed makes at the same time before they are needed.
const fetchers = 8

// ahead has what the lanes will use fetched early, so that a store's answer is there when its images are decoded. It is a
// help alone: what it did not get to is fetched when it is needed.
type ahead struct {
	config Config
	wanted chan []int // numbers of images that lie side by side
}

// newAhead has room for all that some lanes want at a time, also of batches that are made already.
func newAhead(c Config, lanes int) *ahead {
	return &ahead{config: c, wanted: make(chan []int, lanes*(c.Ahead+c.Prefetch+2)*c.Order.Batch/c.Order.Lanes)}
}

// run fetches until wanted is closed or ctx has ended.
func (a *ahead) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range fetchers {
		wg.Go(func() {
			for numbers := range a.wanted {
				if ctx.Err() != nil {
					return
				}
				a.config.Data.Prefetch(ctx, numbers...)
			}
		})
	}
	wg.Wait()
}

// want asks for images.
func (a *ahead) want(numbers []int) {
	for _, group := range a.config.Data.Plan(numbers, fetchers) {
		select {
		case a.wanted <- group:
		default: // the fetchers are behind: who needs it fetches it
		}
	}
}
