package history

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/location"
)

// Name is the file in a run's storage.
const Name = "history.json"

// Times of Run, and the largest file that is read.
const (
	every    = 10 * time.Second // the storage is written at most
	farewell = 5 * time.Second  // for the last write
	idle     = time.Hour        // a run that is over and was not asked for is let go of
	maxBytes = 8 << 20

	mostEarly = 256 // messages
)

// Config is what a History is made of.
type Config struct {
	State  func() *cluster.State // required: of the log
	Writes func() bool           // whether this coordinator writes to the runs' storage; nil: it does
	Logger *slog.Logger          // nil: no logs
}

// History keeps the series of runs. It is safe for concurrent use.
type History struct {
	config Config
	loads  sync.WaitGroup

	mu    sync.Mutex
	runs  map[string]*track
	early []wire.Message // of runs that are not known yet
}

// track is a run's.
type track struct {
	series  Series
	drawn   *wire.Distributions
	version uint64 // rises with each message
	drew    uint64 // version of drawn
	remade  uint64 // version at which points before the last one have changed
	written uint64 // version that the storage has
	loaded  bool   // what was in the storage is in the series
	loading bool
	touched time.Time
}

// file is what the storage has.
type file struct {
	Series        *Series             `json:"series"`
	Distributions *wire.Distributions `json:"distributions"`
}

// New returns an empty History.
func New(c Config) *History {
	if c.Writes == nil {
		c.Writes = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &History{config: c, runs: map[string]*track{}}
}

// Take takes a worker's message, if it is of the run's newest generation and its rank 0.
func (h *History) Take(m wire.Message) {
	h.mu.Lock()
	early := append(h.early, m)
	h.early = nil
	h.mu.Unlock()
	for _, m := range early {
		switch m := m.(type) {
		case wire.Report:
			h.take(m, m.Run, m.Worker, m.Generation, func(t *track) {
				if t.series.Add(m, float64(time.Now().UnixMilli())/1000) {
					t.remade = t.version
				}
			})
		case wire.Distributions:
			h.take(m, m.Run, m.Worker, m.Generation, func(t *track) { t.drawn, t.drew = &m, t.version })
		}
	}
}

// take calls add with the run's track if a message of this worker and generation counts. The log of a coordinator that
// does not lead may be a moment late: a message of a run that it does not know yet waits for the next one.
func (h *History) take(m wire.Message, run, worker string, generation uint64, add func(*track)) {
	r := h.config.State().Run(run)
	if r == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.early) < mostEarly {
			h.early = append(h.early, m)
		}
		return
	}
	if r.Plan != nil && (generation < r.Plan.Generation || generation == r.Plan.Generation && r.Plan.Members[0].Worker != worker) {
		return
	}
	t := h.track(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	t.version++
	add(t)
}

// track returns a run's track, and begins to load what its storage has.
func (h *History) track(r *cluster.Run) *track {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.runs[r.Run]
	if t == nil {
		t = &track{}
		h.runs[r.Run] = t
	}
	t.touched = time.Now()
	if !t.loaded && !t.loading {
		t.loading = true
		h.loads.Go(func() { h.load(t, r.Storage) })
	}
	return t
}

// load reads what the storage has. After an error the next touch tries again.
func (h *History) load(t *track, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	var f file
	b, err := location.Open(ctx, url)
	if err == nil {
		var data []byte
		if data, err = storage.ReadAll(ctx, b, Name, maxBytes); err == nil {
			if broken := json.Unmarshal(data, &f); broken != nil {
				h.config.Logger.Warn("curves begin anew", "file", Name, "storage", b.URL(), "err", broken)
				f = file{}
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t.loading = false
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		h.config.Logger.Debug("read the curves", "err", err)
		return
	}
	t.loaded = true
	t.version++
	if f.Series != nil {
		t.series.Before(f.Series)
		t.remade = t.version
	}
	if t.drawn == nil {
		t.drawn, t.drew = f.Distributions, t.version
	}
}

// Update is what has changed of a run.
type Update struct {
	Version       uint64              `json:"-"`     // to ask this History for what comes after
	After         int                 `json:"after"` // the series replaces the points above this step; 0: all of them
	Series        *Series             `json:"series"`
	Distributions *wire.Distributions `json:"distributions"` // nil: they have not changed, or there are none
}

// Since returns what has changed since a version whose last point was that of a step, or all of it; nil: nothing has, or
// there is no such run.
func (h *History) Since(run string, version uint64, step int) *Update {
	r := h.config.State().Run(run)
	if r == nil {
		return nil
	}
	t := h.track(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	if version == t.version && version > 0 {
		return nil
	}
	u, from := &Update{Version: t.version}, 0
	known := version > 0 && version < t.version
	if known && version >= t.remade {
		from, _ = slices.BinarySearch(t.series.Steps, step)
	}
	if from > 0 {
		u.After = t.series.Steps[from-1]
	}
	if u.Series = t.series.From(from); !known || t.drew > version {
		u.Distributions = t.drawn
	}
	return u
}

// Run keeps the series in the runs' storage until ctx ends, and once more then.
func (h *History) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			h.write(ctx)
			h.forget(time.Now())
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			h.write(last)
			return
		}
	}
}

// Close waits for what is still read. Call it when Run has ended and nobody calls Take or Since any more.
func (h *History) Close() { h.loads.Wait() }

// write stores what has changed.
func (h *History) write(ctx context.Context) {
	if !h.config.Writes() {
		return
	}
	state := h.config.State()
	for i := range state.Runs {
		r := &state.Runs[i]
		f, version := h.unwritten(r.Run)
		if f == nil {
			continue
		}
		if err := store(ctx, r.Storage, f); err != nil { // the next time again
			h.config.Logger.Warn("the curves could not be kept", "job", r.Run, "err", err)
			continue
		}
		h.mu.Lock()
		h.runs[r.Run].written = version
		h.mu.Unlock()
	}
}

// unwritten is a copy of what the storage lacks, or nil.
func (h *History) unwritten(run string) (*file, uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.runs[run]
	if t == nil || !t.loaded || t.version == t.written {
		return nil, 0
	}
	return &file{t.series.clone(), t.drawn}, t.version
}

func store(ctx context.Context, url string, f *file) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	b, err := location.Open(ctx, url)
	if err != nil {
		return err
	}
	return storage.WriteAll(ctx, b, Name, data)
}

// forget lets go of runs that are over and nobody looks at.
func (h *History) forget(now time.Time) {
	state := h.config.State()
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, t := range h.runs {
		r := state.Run(name)
		if !t.loading && now.Sub(t.touched) > idle && (r == nil || r.Phase.Over()) {
			delete(h.runs, name)
		}
	}
}
