package carry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/safetensors"
	"pupil/worker/train"
)

// Pauses between the tries of a save, and how long rank 0 waits for the parts of the others before it writes them itself.
const (
	firstPause = time.Second
	mostPause  = 30 * time.Second
	lookPause  = 100 * time.Millisecond
	patience   = 15 * time.Second
	lastWait   = 10 * time.Minute
)

// sharedBytes is the size of a checkpoint from which the ranks share the writing.
const sharedBytes = 1 << 20

// KeeperConfig says what a Keeper keeps, and whom it tells.
type KeeperConfig struct {
	Bucket    storage.Bucket
	Identity  checkpoint.Manifest
	Retention checkpoint.Retention
	Unsaved   int // steps that may be without a checkpoint while the storage fails

	// Describe gives the metadata of the student's part of a snapshot; nil: none.
	Describe func(s train.Snapshot) (map[string]string, error)

	Saved  func(step int)    // a checkpoint is whole; called by the rank that has written its manifest
	Notice func(text string) // for operators: a storage begins to fail, or takes checkpoints again
	Logger *slog.Logger
}

// Keeper stores a run's checkpoints beside the training. A storage that fails for a while does not hold the training up: the
// newest state is tried again until it is stored, and only when too many steps are without a checkpoint does Save fail. All
// ranks can share the writing: each stores some parts, and rank 0 the manifest when all are there.
//
// It is safe for concurrent use. Close ends its goroutine.
type Keeper struct {
	c      KeeperConfig
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu      sync.Mutex
	stored  int // step of the newest checkpoint that is whole; -1: none
	begun   bool
	pending *errand // the newest that is not stored yet
	busy    bool
	changed chan struct{} // closed and replaced when pending or busy change
	failure error         // of the last try
	failed  int           // tries so far
	failing int           // tries since one has succeeded
	metrics map[string]float64
}

// errand is a snapshot to be stored, and this rank's share in that.
type errand struct {
	snapshot   train.Snapshot
	metrics    map[string]float64
	rank, size int
}

// NewKeeper returns a Keeper that has stored nothing yet.
func NewKeeper(c KeeperConfig) *Keeper {
	k := &Keeper{c: c, stored: -1, changed: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Measured tells what the run has measured at the newest step, for the next checkpoint's manifest.
func (k *Keeper) Measured(metrics map[string]float64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.metrics = maps.Clone(metrics)
}

// Failures are the tries that have failed so far.
func (k *Keeper) Failures() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

// Stored is the step of the newest checkpoint that this worker knows to be whole; 0: none.
func (k *Keeper) Stored() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(0, k.stored)
}

// For returns the Saver of a rank in a generation of size ranks. saved is the step of the checkpoint that the generation began
// with.
func (k *Keeper) For(rank, size, saved int) train.Saver {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stored = max(k.stored, saved)
	return share{k, rank, size}
}

type share struct {
	keeper     *Keeper
	rank, size int
}

// Save implements train.Saver. It takes the snapshot and returns at once, with an error when too many steps are unsaved.
func (s share) Save(_ context.Context, snapshot train.Snapshot) error {
	k := s.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.begun {
		k.begun = true
		k.stored = max(k.stored, 0) // steps before the first checkpoint count as well
	}
	if unsaved := snapshot.Step - k.stored; s.rank == 0 && k.failure != nil && unsaved > k.c.Unsaved {
		return fmt.Errorf("%w: %d steps are without a checkpoint, more than the %d that the job allows (checkpoint.unsaved): %v",
			train.ErrUnsaved, unsaved, k.c.Unsaved, k.failure)
	}
	size := s.size
	if bytes(snapshot) < sharedBytes {
		size = 1
	}
	if s.rank >= size {
		return nil
	}
	k.pending = &errand{snapshot, k.metrics, s.rank, size}
	k.wake()
	if !k.busy {
		k.busy = true
		k.ended.Go(k.work)
	}
	return nil
}

// bytes is about the size of a snapshot, the same on every rank.
func bytes(s train.Snapshot) int {
	n := 0
	for _, f := range s.Parts {
		for _, t := range f.Tensors {
			n += len(t.Data)
		}
	}
	return n
}

// wake tells those who wait that something has changed; the lock is held.
func (k *Keeper) wake() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// Flush waits until everything is stored. Rank 0 gives up, with the last failure, after ten minutes in which the storage did
// not take it; the others, whose share rank 0 can write itself, soon and without an error.
func (k *Keeper) Flush(ctx context.Context, rank int) error {
	limit := lastWait
	if rank != 0 {
		limit = patience
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		k.mu.Lock()
		busy, changed, failure := k.busy, k.changed, k.failure
		k.mu.Unlock()
		if !busy {
			return saving(failure)
		}
		select {
		case <-changed:
		case <-timer.C:
			if rank != 0 {
				return nil
			}
			return saving(errors.Join(fmt.Errorf("the storage has not taken the last one for %s", limit), failure))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// saving is the verdict on a state that could not be saved. Its cause is a text alone: a request that was out of time is no
// interruption, after which another generation would try the same.
func saving(err error) error {
	if err != nil {
		return fmt.Errorf("%w: save checkpoint: %v", train.ErrUnsaved, err)
	}
	return nil
}

// Close returns when the Keeper's goroutine has ended. A save under way may end first, unless the storage fails.
func (k *Keeper) Close() {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for waiting := true; waiting; {
		k.mu.Lock()
		busy, changed, failure := k.busy, k.changed, k.failure
		k.mu.Unlock()
		if !busy || failure != nil {
			break
		}
		select {
		case <-changed:
		case <-timer.C:
			waiting = false
		}
	}
	k.cancel()
	k.ended.Wait()
}

// work stores what is pending until nothing is.
func (k *Keeper) work() {
	pause := firstPause
	for {
		k.mu.Lock()
		e := k.pending
		if e == nil || k.ctx.Err() != nil {
			k.busy = false
			k.wake()
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		err := k.store(e)
		k.mu.Lock()
		failed := k.failing
		if k.failure, k.failing = err, 0; err != nil {
			k.failed, k.failing = k.failed+1, failed+1
			k.wake() // for Close
		}
		newer := k.pending != e
		if err == nil || final(err) {
			if !newer {
				k.pending = nil
			}
			pause = firstPause
		}
		changed := k.changed
		k.mu.Unlock()
		switch {
		case k.ctx.Err() != nil:
		case err != nil && failed == 0:
			k.c.Notice(fmt.Sprintf("the checkpoint of step %d could not be saved, and is tried again: %v", e.snapshot.Step, err))
		case err == nil && failed > 0:
			k.c.Notice(fmt.Sprintf("the storage takes checkpoints again, that of step %d after %d failures", e.snapshot.Step, failed))
		}
		if err == nil || k.ctx.Err() != nil {
			continue
		}
		if k.c.Logger.Warn("a checkpoint could not be saved", "step", e.snapshot.Step, "err", err); newer || final(err) {
			continue
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-changed: // a newer state is there
		case <-k.ctx.Done():
		}
		timer.Stop()
		pause = min(2*pause, mostPause)
	}
}

// final tells whether to try again is of no use.
func final(err error) bool { return errors.Is(err, checkpoint.ErrConflict) }

// store writes this rank's share of a checkpoint once; rank 0 also completes it.
func (k *Keeper) store(e *errand) error {
	m := k.c.Identity
	m.Step, m.Meta, m.Metrics = e.snapshot.Step, json.RawMessage(e.snapshot.Meta), e.metrics
	parts, err := k.described(e.snapshot)
	if err != nil {
		return err
	}
	d, err := checkpoint.NewDraft(m, parts)
	if err != nil {
		return err
	}
	if e.rank != 0 {
		return d.Write(k.ctx, k.c.Bucket, e.rank, e.size)
	}
	before, err := d.Begin(k.ctx, k.c.Bucket)
	if err != nil {
		return err
	}
	if err := d.Write(k.ctx, k.c.Bucket, 0, e.size); err != nil {
		return err
	}
	if err := k.complete(d, e.size); err != nil {
		return err
	}
	if err := d.Commit(k.ctx, k.c.Bucket, before); err != nil {
		return err
	}
	k.mu.Lock()
	k.stored = max(k.stored, m.Step)
	k.mu.Unlock()
	k.c.Saved(m.Step)
	if _, err := checkpoint.Prune(k.ctx, k.c.Bucket, k.c.Retention, time.Now(), false); err != nil && k.ctx.Err() == nil {
		k.c.Logger.Warn("old checkpoints could not be deleted", "step", m.Step, "err", err) // the next save tries again
	}
	return nil
}

// described are a snapshot's parts, with the student's metadata.
func (k *Keeper) described(s train.Snapshot) (map[string]*safetensors.File, error) {
	if k.c.Describe == nil {
		return s.Parts, nil
	}
	m, err := k.c.Describe(s)
	if err != nil {
		return nil, err
	}
	return signed(s.Parts, m), nil
}

// complete waits until all parts are stored. Parts of ranks that do not come it writes itself.
func (k *Keeper) complete(d *checkpoint.Draft, size int) error {
	if size == 1 {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for tick := time.NewTicker(lookPause); ; {
		missing, err := d.Missing(k.ctx, k.c.Bucket)
		if missing == 0 || err != nil {
			tick.Stop()
			return err
		}
		select {
		case <-tick.C:
		case <-timer.C:
			tick.Stop()
			return d.Write(k.ctx, k.c.Bucket, 0, 1)
		case <-k.ctx.Done():
			tick.Stop()
			return k.ctx.Err()
		}
	}
}
