// Package machine is the ring's protocol as a step machine: messages, calls and the time go in; messages and
// completions come out. It has no I/O, no clock and no goroutine, so a test can drive whole rings of it through any
// schedule of faults. docs/protocol.md describes the protocol.
//
// # Use
//
//	m := machine.New(config)
//	err := m.Start(now, step, bucket, dtype, data) // and Commit, Receive, Tick
//	out := m.Take()                                // send out.Sends, end the calls of out.Completed
//	if m.Err() != nil { ... }                      // over: all calls have failed
//	wake, ok := m.Next()                           // call Tick then, if nothing came before
//
// # The caller's duties
//
//  1. One call at a time: a Machine is not safe for concurrent use.
//  2. now never falls. It counts from any fixed moment.
//  3. After every call, take the output and send it, in order; what the link loses the protocol asks for again.
//  4. A slice handed to Start or Receive belongs to the machine. The slice of Start holds the sums when its completion
//     comes; from then on it does not change and the machine only reads it, until the step is committed or the machine
//     has failed.
//  5. Buffers of frames that were taken are read-only but for their header (see frame.Encode), and may be sent again.
package machine
