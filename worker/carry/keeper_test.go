package carry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/storage/storagetest"
	"pupil/worker/agent"
	"pupil/worker/carry"
	"pupil/worker/train"
)

func snapshot(step int) train.Snapshot { return sized(step, 1) }

// sized is a snapshot of three parts of n values.
func sized(step, n int) train.Snapshot {
	part := func(v float32) *safetensors.File {
		values := make([]float32, n)
		values[0] = v
		return &safetensors.File{Tensors: []safetensors.Tensor{safetensors.FromFloat32("w", []int{n}, values)}}
	}
	return train.Snapshot{Step: step, Parts: map[string]*safetensors.File{
		"a": part(float32(step)), "b": part(2), "c": part(3),
	}, Meta: []byte("{}")}
}

// keeper returns a Keeper, and the steps that it has told of.
func keeper(b storage.Bucket, saved *[]int) *carry.Keeper {
	return carry.NewKeeper(carry.KeeperConfig{
		Bucket: b, Retention: checkpoint.Retention{Last: 2, Grace: time.Hour}, Unsaved: 50,
		Saved:  func(step int) { *saved = append(*saved, step) },
		Notice: func(string) {}, Logger: slog.New(slog.DiscardHandler),
	})
}

func newest(t *testing.T, b storage.Bucket) int {
	t.Helper()
	m, _, err := checkpoint.Latest(t.Context(), b)
	if errors.Is(err, checkpoint.ErrNone) {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Step
}

func TestKeeper(t *testing.T) {
	b := mem.New()
	var saved []int
	k := keeper(b, &saved)
	defer k.Close()
	to := k.For(0, 1, -1)
	for step := 10; step <= 40; step += 10 {
		k.Measured(map[string]float64{"loss": float64(step)})
		if err := to.Save(t.Context(), snapshot(step)); err != nil {
			t.Fatal(err)
		}
		if err := k.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(saved, []int{10, 20, 30, 40}) || newest(t, b) != 40 {
		t.Errorf("saved %v, the newest is %d", saved, newest(t, b))
	}
	infos, err := checkpoint.List(t.Context(), b)
	if err != nil || len(infos) != 2 || infos[1].Step != 30 || infos[0].Manifest.Metrics["loss"] != 40 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// TestStoreFailsForAWhile has a store that fails for some minutes: training goes on, the newest state is stored when the store
// comes back, and what lies in between is not.
func TestStoreFailsForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := mem.New()
		down := false
		tries := 0
		b := &storagetest.Flaky{Bucket: inside, Next: func(operation, _ string) storagetest.Trouble {
			if !down {
				return storagetest.None
			}
			tries++
			return storagetest.Fails
		}}
		var saved []int
		var notices []string
		k := carry.NewKeeper(carry.KeeperConfig{
			Bucket: b, Retention: checkpoint.Retention{Last: 2, Grace: time.Hour}, Unsaved: 50,
			Saved:  func(step int) { saved = append(saved, step) },
			Notice: func(text string) { notices = append(notices, text) }, Logger: slog.New(slog.DiscardHandler),
		})
		defer k.Close()
		to := k.For(0, 1, -1)
		for step := 10; step <= 60; step += 10 {
			if step == 20 {
				down = true
			}
			if err := to.Save(t.Context(), snapshot(step)); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			synctest.Wait()
			if step < 60 { // so long do ten steps take
				sleep(t, time.Minute)
			}
		}
		if newest(t, inside) != 10 || tries < 5 || tries > 40 {
			t.Errorf("while the store fails: the newest is %d, %d tries", newest(t, inside), tries)
		}
		down = false
		if err := k.Flush(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(saved, []int{10, 60}) || newest(t, inside) != 60 {
			t.Errorf("saved %v, the newest is %d", saved, newest(t, inside))
		}
		// Operators hear of the first failure and of the end, and not of each try.
		if len(notices) != 2 || !strings.Contains(notices[0], "step 20 could not be saved") ||
			!strings.Contains(notices[0], storagetest.ErrInjected.Error()) || !strings.Contains(notices[1], "that of step 60 after ") {
			t.Errorf("notices %q", notices)
		}
	})
}

// sleep lets time go by in a bubble.
func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
}

// silent is a store of which requests are out of time, as net and net/http say it.
type silent struct{ *storagetest.Flaky }

func (s silent) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	return errors.Join(s.Flaky.Put(ctx, key, body, size), context.DeadlineExceeded)
}

func (s silent) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.Flaky.Get(ctx, key, offset, length)
	return r, errors.Join(err, context.DeadlineExceeded)
}

func (s silent) List(ctx context.Context, prefix string) ([]storage.Object, error) {
	objects, err := s.Flaky.List(ctx, prefix)
	return objects, errors.Join(err, context.DeadlineExceeded)
}

// TestTooManyUnsavedSteps has a store that does not come back: its requests are out of time, which is no interruption for that.
func TestTooManyUnsavedSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside := mem.New()
		b := silent{&storagetest.Flaky{Bucket: inside, Next: func(string, string) storagetest.Trouble { return storagetest.Fails }}}
		var saved []int
		k := keeper(b, &saved)
		defer k.Close()
		to := k.For(0, 1, 100)
		for step := 110; step <= 150; step += 10 {
			if err := to.Save(t.Context(), snapshot(step)); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			sleep(t, time.Second)
		}
		err := to.Save(t.Context(), snapshot(160))
		if !errors.Is(err, train.ErrUnsaved) || agent.Interruption(err) || k.Failures() < 3 ||
			!strings.Contains(err.Error(), "60 steps are without a checkpoint") || !strings.Contains(err.Error(), storagetest.ErrInjected.Error()) {
			t.Errorf("with 60 unsaved steps of 50: %v", err)
		}
		if err := k.Flush(t.Context(), 0); !errors.Is(err, train.ErrUnsaved) || agent.Interruption(err) || !strings.Contains(err.Error(), "10m0s") ||
			!strings.Contains(err.Error(), storagetest.ErrInjected.Error()) {
			t.Errorf("Flush = %v", err)
		}
		if err := k.Flush(t.Context(), 1); err != nil {
			t.Errorf("Flush of another rank = %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := k.Flush(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("Flush with a canceled context = %v", err)
		}
	})
}

// TestRanksShareTheWriting has three ranks save: each writes a part, the manifest comes when all are there.
func TestRanksShareTheWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		puts := make([][]string, 3)
		var saved []int
		var keepers []*carry.Keeper
		for rank := range 3 {
			k := keeper(&storagetest.Flaky{Bucket: b, Next: func(operation, key string) storagetest.Trouble {
				if operation == "put" || operation == "create" {
					puts[rank] = append(puts[rank], key)
				}
				return storagetest.None
			}}, &saved)
			defer k.Close()
			keepers = append(keepers, k)
		}
		n := 100_000
		save := func(rank, step int) {
			t.Helper()
			if err := keepers[rank].For(rank, 3, -1).Save(t.Context(), sized(step, n)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		save(0, 10)
		save(1, 10)
		if newest(t, b) != -1 {
			t.Error("there is a manifest before all parts are there")
		}
		save(2, 10)
		sleep(t, time.Second)
		if newest(t, b) != 10 || len(puts[0]) != 2 || len(puts[1]) != 1 || len(puts[2]) != 1 || !slices.Equal(saved, []int{10}) {
			t.Errorf("the newest is %d; puts %q; saved %v", newest(t, b), puts, saved)
		}
		n = 10 // a small one is rank 0's alone
		for rank := range 3 {
			save(rank, 15)
		}
		if newest(t, b) != 15 || len(puts[0]) != 6 || len(puts[1]) != 1 {
			t.Errorf("a small checkpoint: the newest is %d; puts %q", newest(t, b), puts)
		}
		n = 100_000
		// Rank 2 has died: after a while rank 0 writes its part.
		save(0, 20)
		save(1, 20)
		sleep(t, time.Minute)
		if newest(t, b) != 20 {
			t.Errorf("without rank 2 the newest is %d", newest(t, b))
		}
	})
}

// TestStudentDescribesItself: the student's part of a checkpoint has metadata, and the same tensors; the snapshot that others
// may hold stays as it is.
func TestStudentDescribesItself(t *testing.T) {
	b := mem.New()
	k := carry.NewKeeper(carry.KeeperConfig{
		Bucket: b, Retention: checkpoint.Retention{Last: 1}, Saved: func(int) {}, Notice: func(string) {}, Logger: slog.New(slog.DiscardHandler),
		Describe: func(s train.Snapshot) (map[string]string, error) {
			return map[string]string{"step": strconv.Itoa(s.Step)}, nil
		},
	})
	defer k.Close()
	s := snapshot(7)
	s.Parts[train.PartStudent] = s.Parts["a"]
	if err := k.For(0, 1, -1).Save(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := k.Flush(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	_, parts, err := checkpoint.Load(t.Context(), b, 7)
	if err != nil {
		t.Fatal(err)
	}
	got := parts[train.PartStudent]
	if got.Metadata["step"] != "7" || len(parts["a"].Metadata) != 0 || len(s.Parts[train.PartStudent].Metadata) != 0 {
		t.Errorf("metadata %v; of another part %v, of the snapshot %v", got.Metadata, parts["a"].Metadata, s.Parts[train.PartStudent].Metadata)
	}
	if got.Metadata = nil; !got.Equal(s.Parts["a"]) {
		t.Error("the tensors have changed")
	}
}
