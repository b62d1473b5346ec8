// Package history keeps what happened in the steps of a cluster's runs, for curves: a bounded series of each run, and its
// newest distributions.
//
//	h := history.New(history.Config{State: log.State, Writes: log.Leads})
//	go control.Listen(ctx, link, logger, h.Take)
//	go h.Run(ctx)                               // keeps it in the runs' storage
//	series := h.Series("faces-1")
//
// Every coordinator listens to the workers, so another one that begins to lead has the curves as well. The one that leads
// also writes them into the run's storage every few seconds, from where they are read after a restart. What workers report
// while no coordinator is there at all is lost to the curves, not to the training.
package history
