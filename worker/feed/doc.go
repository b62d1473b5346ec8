// Package feed turns the samples of lanes into batches: it reads them from a packed dataset, decodes them and makes the
// teacher's and the student's view of each, ahead of the training (DESIGN section 3).
//
// Usage:
//
//	f, err := feed.New(config, lanes, firstStep, lastStep)
//	go f.Run(ctx)                     // the caller waits for it
//	for {
//		b, err := f.Next(ctx, lane)   // io.EOF after the last step
//		...                           // use b
//		b.Release()
//	}
//
// The caller's duties:
//
//  1. Run is called once, and waited for. It owns every goroutine of the feed and returns when all of them have ended:
//     after the last batch was made, or soon after ctx ended.
//  2. The steps of a lane are taken in order, by one goroutine at a time. Lanes are independent of each other.
//  3. A batch is released when it is not used any more; its memory serves a later one. A batch that is never released
//     is garbage like any other, not a leak or a deadlock.
//
// A Carrier is for lanes that come and go: a worker's, from generation to generation.
//
// A batch is a function of the dataset, the order, the pipelines, the seed, the step and the lane. It does not depend
// on the number of goroutines, on how far they are ahead, or on the step that the feed began with. Nothing is kept of a
// sample from one epoch to the next: it is decoded and augmented anew for every use.
package feed
