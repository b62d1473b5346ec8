// Package allreduce sums vectors of integers over the ranks of a ring (DESIGN section 6). Integer addition is
// associative, so the sums are the same bits whatever the number of ranks and the order of messages; Scaler gives the
// exponents that make integers of real numbers.
//
//	ring, err := allreduce.New(link, allreduce.Config{Job: "faces", Generation: 3, Rank: rank, Size: size})
//	go ring.Run(ctx)
//	err = ring.ReduceInt32(ctx, step, bucket, gradients) // in place; buckets of a step may go at the same time
//	err = ring.Commit(ctx, step)                         // all ranks have the same sums
//
// Share hands a state, such as weights, to ranks that lack it. Times tells where a rank's time goes.
//
// # What it promises
//
// The link may lose, repeat, reorder, cut and damage messages, and bring old ones again. A call then ends in one of two
// ways: with the right sums, or with an error on every rank, within Config.Deadline of the last progress. Never with a
// wrong sum, and never not at all. docs/protocol.md says how, and where the promise ends: a message that is damaged
// in a way that two CRC-32C miss, and a program that breaks the rules below.
//
// # The caller's duties
//
//  1. Run runs, in a goroutine that the caller waits for, until the last Commit has returned.
//  2. Every rank reduces the same buckets of the same lengths and types in a step, and begins at the same step. Ranks
//     that differ get ErrMismatch.
//  3. Commit comes after all Reduce calls of the step have returned, and before those of the next step.
//  4. After an error, a generation is over: make new links and rings with a higher one.
//  5. Abort as soon as it is known that a rank has died; otherwise the others wait for the deadline.
//
// # Goroutines
//
// Run's own goroutine owns the step machine: it takes messages, calls and the time, and never waits for the link. One
// goroutine receives and checks messages, one sends. A Reduce call copies its vector in and out in the caller's
// goroutine; nothing else touches it. Memory is lent by a pool and counted by its holders: none is left when Run and
// all calls have returned.
package allreduce
