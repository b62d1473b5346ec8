// Package serve is a coordinator's process in a cluster: its log among those of the others, the service while it leads,
// and the HTTP API.
//
//	err := serve.Run(ctx, config)   // until ctx ends or the disk fails
//
// The service (package control) runs on the leader alone. Any coordinator answers any request: one that does not lead
// passes it on to the leader, over the port that coordinators have for each other. At the end of ctx a leader hands the
// leadership over before it goes, so that nobody has to find out that it is gone.
//
// What the promise of the package rests on: steps do not need a coordinator, and workers wait for one without end; so
// coordinators can come and go, and all of them at once.
package serve
