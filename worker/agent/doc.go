// Package agent is a worker's side of the coordinator: it joins, sends heartbeats, turns the plan into a ring, lets a
// Trainer carry its part, and tells how that ended.
//
//	err := agent.Run(ctx, agent.Config{URL: url, User: user, Password: password, ID: "w0", ...}, trainer)
//
// Run carries one plan and returns: nil when its part has finished or was stopped as the coordinator asked, otherwise
// why not. It never outlives its coordinator: when that has been silent for the timeout that it set, has refused a
// heartbeat, or has sent an Abort, the trainer's context ends with that as its cause, and Run returns it.
//
// Goroutines: Run's own calls the trainer; one sends heartbeats; one takes orders; one drives the ring. All have ended
// when Run returns. A trainer that does not heed its context keeps Run from returning.
package agent
