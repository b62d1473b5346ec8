package serve

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"pupil/worker/student"
	"pupil/worker/student/gallery"
)

// Server answers requests with one student.
type Server struct {
	config     Config
	model      *student.Model
	classifier *student.Classifier // nil: none
	gallery    *gallery.Gallery    // nil: none
	runners    []*student.Runner   // of the batch workers
	batcher    batcher
	slots      chan struct{} // of requests
	decoders   chan struct{} // of images that are decoded
	tokens     map[[sha256.Size]byte]bool
	metrics    *metrics
	logger     *slog.Logger
	ready      atomic.Bool
}

// New prepares a server: it makes the networks of all workers. classifier and g may be nil; a gallery must be ready.
func New(m *student.Model, classifier *student.Classifier, g *gallery.Gallery, c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	if g != nil {
		if err := g.Ready(); err != nil {
			return nil, err
		}
	}
	s := &Server{
		config: c, model: m, classifier: classifier, gallery: g, slots: make(chan struct{}, c.Requests), metrics: newMetrics(), decoders: make(chan struct{}, c.Threads),
		tokens: map[[sha256.Size]byte]bool{}, logger: c.Logger,
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	for _, t := range c.Tokens {
		s.tokens[sha256.Sum256([]byte(t))] = true
	}
	for range c.Threads {
		r, err := m.NewRunner(c.Batch)
		if err == nil {
			err = r.Warm()
		}
		if err != nil {
			return nil, err
		}
		s.runners = append(s.runners, r)
	}
	s.batcher = batcher{
		queue: make(chan *task, c.Requests*c.Images), size: c.Batch, delay: c.Delay, compute: s.compute,
		worked: func(images int) { s.metrics.batch.Observe(float64(images)) },
	}
	return s, nil
}

// compute answers a batch.
func (s *Server) compute(worker int, batch []*task) {
	var values []float32
	for _, t := range batch {
		values = append(values, t.values...)
	}
	out, err := s.runners[worker].Run(values)
	if err != nil {
		s.logger.Error("a batch failed", "images", len(batch), "err", err)
	}
	features, outputs := s.model.Network.Features(), s.model.Config.Outputs
	for i, t := range batch {
		a := answer{err: err}
		if err == nil {
			a.pooled = out.Pooled[i*features:][:features]
			if outputs > 0 {
				a.logits = out.Logits[i*outputs:][:outputs]
			}
		}
		t.done <- a
	}
}

// Run serves a listener until ctx ends. Then the server is not ready any more, takes no new connection, and has Config.Drain
// to answer what has begun. It closes the listener.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	web := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.config.Timeout,
		ReadTimeout:       s.config.Timeout,
		WriteTimeout:      2*s.config.Timeout + time.Second, // it starts when the header has been read
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	workers, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for i := range s.runners {
		running.Go(func() { s.batcher.run(workers, i) })
	}
	served := make(chan error, 1)
	s.ready.Store(true)
	go func() { served <- web.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
		s.ready.Store(false)
		s.logger.Info("ending: answering what has begun", "for", s.config.Drain)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain)
		if err = web.Shutdown(drain); err != nil {
			err = fmt.Errorf("some requests were not answered within %s: %w", s.config.Drain, errors.Join(err, web.Close()))
		}
		cancel()
		<-served
	case err = <-served:
	}
	s.ready.Store(false)
	stop()
	running.Wait()
	for _, r := range s.runners {
		r.Close()
	}
	return err
}
