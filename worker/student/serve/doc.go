// Package serve answers HTTP requests with a student: features, classes and identities of images.
//
//	s, err := serve.New(model, classifier, gallery, serve.DefaultConfig())
//	err = s.Run(ctx, listener)   // until ctx ends; then it finishes what it has begun
//
// Requests that are there at the same time share batches (see batcher). Everything that a client can make grow has a bound:
// the body, the pixels, the images of a request, the requests at a time, and the time. openapi.json is the interface's
// description; a test holds it and the server together.
//
// Goroutines: Run owns the batch workers and the HTTP server, and returns after all have ended. The server owns one for
// each connection; they decode, and wait for their batch.
package serve
