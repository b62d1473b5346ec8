// Package agent is a worker's side of the coordinator: it joins, sends heartbeats, turns the plan into a ring, lets a
// Trainer carry its part, and tells how that ended.
//
//	err := agent.Run(ctx, agent.Config{URL: url, User: user, Password: password, ID: "w0", ...}, trainer)
//
// Run carries plans, one after the other: each belongs to a generation, and a newer one ends the one before at once. It
// returns when its context ends, when it was asked to leave (Config.Drain) and its lanes are handed over, or when the
// coordinator has ended. A coordinator that is silent is waited for: training does not need it. When the coordinator has
// given the worker up, because it stood still or was cut off, the worker joins again and takes part with what it has.
//
// Goroutines: Run's own calls the trainer; one sends heartbeats; one takes orders; one waits for the word to leave; one
// drives the ring. All have ended when Run returns. A trainer that does not heed its context keeps Run from returning.
package agent
