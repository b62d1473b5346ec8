package dash

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/audit"
	"pupil/coordinator/control"
	"pupil/coordinator/history"
	"pupil/coordinator/view"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
)

// Site is what the page shows.
type Site struct {
	ID      string // of this coordinator
	History *history.History
	Worker  string // the worker's executable, which draws views; "": there is none here

	sheets sheets
	audits chan struct{} // one at a time
}

// NewSite returns a Site.
func NewSite(id string, h *history.History, worker string) *Site {
	return &Site{ID: id, History: h, Worker: worker, sheets: newSheets(), audits: make(chan struct{}, 1)}
}

// Keep listens to what workers report, whether this coordinator leads or not, until end is called.
func (s *Site) Keep(link control.Link, logger *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.History.Run(ctx) })
	wg.Go(func() {
		for {
			err := control.Listen(ctx, link, logger, s.History.Take)
			if err == nil {
				return
			}
			logger.Debug("the curves wait for the broker", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait(); s.History.Close() }
}

// Endpoint answers a request on the coordinator that leads. It returns an error as long as it has written nothing.
type Endpoint func(w http.ResponseWriter, r *http.Request, leader *control.Service) error

// Endpoints are what the page reads beside the status, by pattern. They only read.
func (s *Site) Endpoints() map[string]Endpoint {
	return map[string]Endpoint{
		"GET /v1/stream":                 s.stream,
		"GET /v1/runs/{run}/series":      s.series,
		"GET /v1/runs/{run}/checkpoints": s.checkpoints,
		"GET /v1/runs/{run}/audit":       s.audit,
		"GET /v1/runs/{run}/views.png":   s.views,
	}
}

// run is the one that a request names.
func (s *Site) run(r *http.Request, leader *control.Service) (*api.Detail, error) {
	st := leader.Status()
	if st.State == nil {
		return nil, starting()
	}
	name := r.PathValue("run")
	if d := view.Detail(s.ID, st, name); d != nil {
		return d, nil
	}
	return nil, &api.Error{Code: api.NotFound, Text: "there is no run " + name}
}

func starting() error {
	return &api.Error{Code: api.NoLeader, Text: "the coordinator has only begun to lead; try again"}
}

func send(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(data, '\n')) // else the other side has gone
	return nil
}

// series sends a run's curves, and its newest distributions.
func (s *Site) series(w http.ResponseWriter, r *http.Request, leader *control.Service) error {
	d, err := s.run(r, leader)
	if err != nil {
		return err
	}
	u := s.History.Since(d.Run.Run, 0, 0)
	if u == nil {
		return starting()
	}
	return send(w, u)
}

// Checkpoint is one in a run's storage.
type Checkpoint struct {
	Step     int                `json:"step"`
	State    string             `json:"state"` // finished, unfinished or damaged
	Reason   string             `json:"reason"`
	Bytes    int64              `json:"bytes"`
	Modified time.Time          `json:"modified"`
	Metrics  map[string]float64 `json:"metrics"`
}

// checkpoints lists those in a run's storage, the newest first.
func (s *Site) checkpoints(w http.ResponseWriter, r *http.Request, leader *control.Service) error {
	d, err := s.run(r, leader)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	b, err := location.Open(ctx, d.Storage)
	if err != nil {
		return err
	}
	infos, err := checkpoint.List(ctx, b)
	if err != nil {
		return fmt.Errorf("this coordinator cannot list the checkpoints: %w", err)
	}
	out := []Checkpoint{}
	for _, i := range infos {
		c := Checkpoint{Step: i.Step, State: "finished", Reason: i.Fault, Bytes: i.Bytes, Modified: i.Modified.UTC(), Metrics: map[string]float64{}}
		switch {
		case !i.Finished:
			c.State = "unfinished"
		case i.Fault != "":
			c.State = "damaged"
		}
		if i.Manifest != nil && i.Manifest.Metrics != nil {
			c.Metrics = i.Manifest.Metrics
		}
		out = append(out, c)
	}
	return send(w, out)
}

// audit proves from a run's ledger which sample was used in which step.
func (s *Site) audit(w http.ResponseWriter, r *http.Request, leader *control.Service) error {
	d, err := s.run(r, leader)
	if err != nil {
		return err
	}
	select {
	case s.audits <- struct{}{}:
		defer func() { <-s.audits }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	l := audit.Ledger{Run: d.Run.Run, Committed: d.Committed}
	for _, x := range d.Spans {
		l.Spans = append(l.Spans, audit.Span(x))
	}
	report, err := audit.Run(r.Context(), d.Spec, l)
	if err != nil {
		return &api.Error{Code: api.Refused, Text: fmt.Sprintf("this coordinator cannot audit the run: %v", err)}
	}
	return send(w, report)
}
