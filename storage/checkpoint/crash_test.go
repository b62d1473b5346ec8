package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
	"pupil/storage/storagetest"
)

// crashes runs a change on a bucket that dies at its first Put or Delete, at its second, and so on, in each way, until
// one run comes to its end. after looks at what the dead process left in the bucket.
func crashes(t *testing.T, open func() storage.Bucket, prepare func(storage.Bucket),
	change func(storage.Bucket) error, after func(t *testing.T, b storage.Bucket, done bool),
) {
	for _, fault := range storagetest.Faults() {
		for k, done := 0, false; !done; k++ {
			b := open()
			prepare(b)
			faulty := &storagetest.Faulty{Bucket: b, At: k, Fault: fault}
			err := change(faulty)
			done = len(faulty.Log()) <= k
			if done != (err == nil) {
				t.Fatalf("fault at operation %d of %q: error %v", k, faulty.Log(), err)
			}
			t.Run(fmt.Sprintf("%s at %d", fault, k), func(t *testing.T) { after(t, b, done) })
		}
	}
}

func TestCrashInSave(t *testing.T) {
	buckets(t, func(t *testing.T, open func() storage.Bucket) {
		crashes(t, open,
			func(b storage.Bucket) { save(t, b, 100, 1) },
			func(b storage.Bucket) error { return checkpoint.Save(t.Context(), b, manifest(200), state(2)) },
			func(t *testing.T, b storage.Bucket, done bool) {
				m, _, err := checkpoint.Latest(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				if done && m.Step != 200 {
					t.Errorf("after a Save without error Latest is step %d", m.Step)
				}
				check(t, b, m.Step, float32(m.Step/100))
				save(t, b, 200, 2) // the resumed job comes by again
				check(t, b, 200, 2)
			})
	})
}

func TestCrashInFirstSave(t *testing.T) {
	crashes(t, func() storage.Bucket { return mem.New() },
		func(storage.Bucket) {},
		func(b storage.Bucket) error { return checkpoint.Save(t.Context(), b, manifest(100), state(1)) },
		func(t *testing.T, b storage.Bucket, done bool) {
			m, _, err := checkpoint.Latest(t.Context(), b)
			switch {
			case err == nil:
				check(t, b, m.Step, 1)
			case done || !errors.Is(err, checkpoint.ErrNone) && !errors.Is(err, checkpoint.ErrDamaged):
				t.Errorf("Latest = %v", err)
			}
		})
}

// TestCrashInRepeatedSave replaces a checkpoint by one of the same step, with the same content or another.
func TestCrashInRepeatedSave(t *testing.T) {
	for _, value := range []float32{2, 3} {
		crashes(t, func() storage.Bucket { return mem.New() },
			func(b storage.Bucket) { save(t, b, 100, 1); save(t, b, 200, 2) },
			func(b storage.Bucket) error { return checkpoint.Save(t.Context(), b, manifest(200), state(value)) },
			func(t *testing.T, b storage.Bucket, done bool) {
				m, passed, err := checkpoint.Latest(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				switch m.Step {
				case 100:
					if done {
						t.Error("after a Save without error Latest is the one before")
					}
					if !strings.Contains(t.Name(), "torn") && !strings.Contains(passed[0].Reason, "did not finish") {
						t.Errorf("parts of two checkpoints stand under one manifest: %s", passed[0].Reason)
					}
					check(t, b, 100, 1)
				case 200:
					_, parts, err := checkpoint.Load(t.Context(), b, 200)
					if err != nil {
						t.Fatal(err)
					}
					same := func(v float32) bool {
						for name, f := range state(v) {
							if !parts[name].Equal(f) {
								return false
							}
						}
						return true
					}
					if !same(value) && (done || !same(2)) {
						t.Error("the checkpoint is neither the old nor the new one")
					}
				default:
					t.Errorf("Latest is step %d", m.Step)
				}
			})
	}
}

// TestRepeatedSaveKeepsTheCheckpoint holds Save to its word: the same content stays valid at every moment.
func TestRepeatedSaveKeepsTheCheckpoint(t *testing.T) {
	crashes(t, func() storage.Bucket { return mem.New() },
		func(b storage.Bucket) { save(t, b, 200, 2) },
		func(b storage.Bucket) error {
			if b.(*storagetest.Faulty).Fault == storagetest.Torn {
				b.(*storagetest.Faulty).Fault = storagetest.Late
			}
			return checkpoint.Save(t.Context(), b, manifest(200), state(2))
		},
		func(t *testing.T, b storage.Bucket, _ bool) { check(t, b, 200, 2) })
}

func TestRetain(t *testing.T) {
	buckets(t, func(t *testing.T, open func() storage.Bucket) {
		b := open()
		for step := 1; step <= 6; step++ {
			save(t, b, step, float32(step))
		}
		damage(t, b, "checkpoints/00000005/params.safetensors", func(data []byte) []byte { return data[1:] })
		if err := storage.WriteAll(t.Context(), b, "checkpoints/00000006/loser-0.safetensors", nil); err != nil {
			t.Fatal(err)
		}
		for _, step := range []int{3, 7} { // unfinished saves before and after the newest
			if err := storage.WriteAll(t.Context(), b, fmt.Sprintf("checkpoints/%08d/x.safetensors", step), nil); err != nil {
				t.Fatal(err)
			}
			if err := b.Delete(t.Context(), fmt.Sprintf("checkpoints/%08d/manifest.json", step)); err != nil {
				t.Fatal(err)
			}
		}
		before := keys(t, b)
		if plan, err := checkpoint.Prune(t.Context(), b, checkpoint.Retention{Last: 2}, time.Now(), true); err != nil || len(plan) == 0 ||
			!slices.Equal(keys(t, b), before) {
			t.Errorf("a dry run: %v, %v; it left %q", plan, err, keys(t, b))
		}
		for _, tt := range []struct {
			after time.Duration
			want  map[string]int
		}{
			{0, map[string]int{"00000003": 4, "00000004": 4, "00000005": 4, "00000006": 5, "00000007": 1}}, // of 3, 6 and 7 some may be under way
			{2 * time.Hour, map[string]int{"00000004": 4, "00000005": 4, "00000006": 4}},
		} {
			retention := checkpoint.Retention{Last: 2, Grace: time.Hour}
			if _, err := checkpoint.Prune(t.Context(), b, retention, time.Now().Add(tt.after), false); err != nil {
				t.Fatal(err)
			}
			got := map[string]int{}
			for _, key := range keys(t, b) {
				got[key[:8]]++
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("files left by step after %s: %v; want %v", tt.after, got, tt.want)
			}
		}
		check(t, b, 4, 4)
		check(t, b, 6, 6)
		if err := checkpoint.Retain(t.Context(), b, 0); err == nil {
			t.Error("keep 0 gave no error")
		}
	})
}

// TestRetainIsNotFooledByADamagedNewest is a run that fell back before a damaged checkpoint: its new one must stay.
func TestRetainIsNotFooledByADamagedNewest(t *testing.T) {
	b := mem.New()
	for _, step := range []int{100, 150, 200} {
		save(t, b, step, 1)
	}
	damage(t, b, "checkpoints/00000200/params.safetensors", func(data []byte) []byte { data[len(data)-1]++; return data })
	if err := checkpoint.Retain(t.Context(), b, 1); err != nil {
		t.Fatal(err)
	}
	if m, _, err := checkpoint.Latest(t.Context(), b); err != nil || m.Step != 150 || len(keys(t, b)) != 8 {
		t.Errorf("Latest = %+v, %v; objects %q", m, err, keys(t, b))
	}
}

func TestRetainKeepsAllWhenNoneIsWhole(t *testing.T) {
	b := mem.New()
	for step := 1; step <= 3; step++ {
		save(t, b, step, 1)
		damage(t, b, fmt.Sprintf("checkpoints/%08d/manifest.json", step), func(data []byte) []byte { return data[1:] })
	}
	before := keys(t, b)
	if err := checkpoint.Retain(t.Context(), b, 1); err != nil || !slices.Equal(keys(t, b), before) {
		t.Errorf("Retain = %v, left %q of %q", err, keys(t, b), before)
	}
}

func TestCrashInRetain(t *testing.T) {
	crashes(t, func() storage.Bucket { return mem.New() },
		func(b storage.Bucket) {
			for step := 1; step <= 4; step++ {
				save(t, b, step, float32(step))
			}
		},
		func(b storage.Bucket) error { return checkpoint.Retain(t.Context(), b, 2) },
		func(t *testing.T, b storage.Bucket, _ bool) {
			m, passed, err := checkpoint.Latest(t.Context(), b)
			if err != nil || m.Step != 4 || len(passed) != 0 {
				t.Fatalf("Latest = %+v, %v, %v", m, passed, err)
			}
			for step := 1; step <= 4; step++ { // what still has a manifest is whole
				if _, _, err := checkpoint.Load(t.Context(), b, step); err == nil {
					check(t, b, step, float32(step))
				} else if !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("step %d: %v", step, err)
				}
			}
			later := time.Now().Add(2 * time.Hour)
			if _, err := checkpoint.Prune(t.Context(), b, checkpoint.Retention{Last: 2, Grace: time.Hour}, later, false); err != nil {
				t.Fatal(err)
			}
			if got := keys(t, b); len(got) != 8 {
				t.Errorf("the next Retain leaves %q", got)
			}
		})
}

// TestUnreachableBucket checks that a store that is out of reach is an error, not a reason to fall back.
func TestUnreachableBucket(t *testing.T) {
	b := mem.New()
	save(t, b, 1, 1)
	dead := &storagetest.Faulty{Bucket: b, At: 0}
	if err := dead.Delete(t.Context(), "x"); !errors.Is(err, storagetest.ErrInjected) {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.Latest(t.Context(), dead); !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("Latest = %v, want the bucket's error", err)
	}
	if _, _, err := checkpoint.Load(t.Context(), dead, 1); !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("Load = %v, want the bucket's error", err)
	}
	if err := checkpoint.Retain(t.Context(), dead, 1); !errors.Is(err, storagetest.ErrInjected) {
		t.Errorf("Retain = %v, want the bucket's error", err)
	}
}

func Example() {
	var b storage.Bucket = mem.New()
	ctx := context.Background()
	weights := &safetensors.File{Tensors: []safetensors.Tensor{safetensors.FromFloat32("w", []int{2}, []float32{1, 2})}}
	for _, step := range []int{100, 200} {
		m := checkpoint.Manifest{Step: step, Job: "digest of the job"}
		if err := checkpoint.Save(ctx, b, m, map[string]*safetensors.File{"params": weights}); err != nil {
			fmt.Println(err)
		}
	}
	objects, err := b.List(ctx, "checkpoints/00000200/params-")
	if err != nil {
		fmt.Println(err)
	}
	if err := b.Delete(ctx, objects[0].Key); err != nil { // an accident
		fmt.Println(err)
	}
	m, passed, err := checkpoint.Latest(ctx, b)
	fmt.Println(m.Step, err)
	fmt.Println(passed[0].Reason)
	// Output:
	// 100 <nil>
	// checkpoint is damaged: get mem:/checkpoints/00000200/params-a06ccadd01057a4c.safetensors: object not found
}
