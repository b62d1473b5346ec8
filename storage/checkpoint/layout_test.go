package checkpoint_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/dir"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

// TestOlderVersions reads checkpoints that earlier builds wrote (testdata/vN), and goes on beside them.
func TestOlderVersions(t *testing.T) {
	for version := 1; version <= 2; version++ {
		folder := t.TempDir()
		if err := os.CopyFS(folder, os.DirFS(fmt.Sprintf("testdata/v%d", version))); err != nil {
			t.Fatal(err)
		}
		b, err := dir.New(folder)
		if err != nil {
			t.Fatal(err)
		}
		m, passed, err := checkpoint.Latest(t.Context(), b)
		if err != nil || m.Step != 200 || m.Version != version || len(passed) != 0 {
			t.Fatalf("version %d: Latest = %+v, %v, %v", version, m, passed, err)
		}
		for step := 100; step <= 200; step += 100 {
			check(t, b, step, float32(step/100))
		}
		save(t, b, 200, 2) // a resumed run comes by again
		save(t, b, 300, 3)
		check(t, b, 200, 2)
		if _, err := checkpoint.Prune(t.Context(), b, checkpoint.Retention{Last: 2}, time.Now().Add(time.Hour), false); err != nil {
			t.Fatal(err)
		}
		if got := keys(t, b); len(got) != 8 {
			t.Errorf("version %d: after Prune there are %q", version, got)
		}
	}
}

// TestPresentVersion holds the layout: a change of it needs a new version and golden files.
func TestPresentVersion(t *testing.T) {
	golden, err := dir.New("testdata/v2")
	if err != nil {
		t.Fatal(err)
	}
	b := mem.New()
	save(t, b, 100, 1)
	save(t, b, 200, 2)
	if got, want := keys(t, b), keys(t, golden); !slices.Equal(got, want) {
		t.Fatalf("objects %q, want %q", got, want)
	}
	for _, key := range keys(t, b) {
		got, err := storage.ReadAll(t.Context(), b, "checkpoints/"+key, 1<<20)
		want, wantErr := storage.ReadAll(t.Context(), golden, "checkpoints/"+key, 1<<20)
		if err != nil || wantErr != nil || string(got) != string(want) {
			t.Errorf("%s is %q, want %q (%v, %v)", key, got, want, err, wantErr)
		}
	}
}

func TestRetention(t *testing.T) {
	b := mem.New()
	losses := map[int]float64{10: 5, 20: 1, 30: 4, 40: 2, 50: 3, 60: 6, 70: 9, 80: math.NaN(), 90: 7}
	for _, step := range slices.Sorted(maps.Keys(losses)) {
		m := manifest(step)
		m.Metrics = map[string]float64{"loss": losses[step], "accuracy": -losses[step]}
		if err := checkpoint.Save(t.Context(), b, m, state(1)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	for _, tt := range []struct {
		r    checkpoint.Retention
		want []int // steps that go
	}{
		{checkpoint.Retention{Last: 9}, nil},
		{checkpoint.Retention{Last: 2, Every: 30}, []int{70, 50, 40, 20, 10}},
		{checkpoint.Retention{Last: 1, Best: 2, Metric: "loss"}, []int{80, 70, 60, 50, 30, 10}},
		{checkpoint.Retention{Last: 1, Best: 2, Metric: "accuracy", Largest: true}, []int{80, 70, 60, 50, 30, 10}},
		{checkpoint.Retention{Last: 1, Best: 3, Metric: "unknown"}, []int{80, 70, 60, 50, 40, 30, 20, 10}},
		{checkpoint.Retention{Last: 1, Best: 99, Metric: "loss"}, []int{80}},
	} {
		plan, err := checkpoint.Prune(t.Context(), b, tt.r, now, true)
		var got []int
		for _, x := range plan {
			got = append(got, x.Step)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%+v removes %v, %v; want %v", tt.r, got, err, tt.want)
		}
	}
	for _, bad := range []checkpoint.Retention{{}, {Last: 1, Best: 1}, {Last: 1, Every: -1}} {
		if _, err := checkpoint.Prune(t.Context(), b, bad, now, true); err == nil {
			t.Errorf("%+v gave no error", bad)
		}
	}
}

// TestTwoWriters has processes save the same step at the same time. With the same state all succeed; with different ones a
// single one does, and the checkpoint is its own.
func TestTwoWriters(t *testing.T) {
	buckets(t, func(t *testing.T, open func() storage.Bucket) {
		for round := range 20 {
			b := open()
			const writers = 4
			errs := make([]error, writers)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					errs[w] = checkpoint.Save(t.Context(), b, manifest(7), state(float32(w*(round%2))))
				})
			}
			wg.Wait()
			_, parts, err := checkpoint.Load(t.Context(), b, 7)
			if err != nil {
				t.Fatal(err)
			}
			// One that began after another had ended replaces its checkpoint: then both have won, one after the other.
			found := false
			for w, err := range errs {
				if err != nil && (!errors.Is(err, checkpoint.ErrConflict) || round%2 == 0) {
					t.Error(err)
				}
				found = found || err == nil && parts["params"].Equal(state(float32(w * (round % 2)))["params"])
			}
			if !found {
				t.Errorf("round %d: the checkpoint is that of no writer that succeeded: %v", round, errs)
			}
		}
	})
}

// TestSharedWriting has processes with the same state write some of the parts each, and one of them the manifest.
func TestSharedWriting(t *testing.T) {
	const processes = 2
	b := mem.New()
	var drafts []*checkpoint.Draft
	for range processes {
		d, err := checkpoint.NewDraft(manifest(5), state(1))
		if err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, d)
	}
	before, err := drafts[0].Begin(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for process, d := range drafts {
		if n, err := drafts[0].Missing(t.Context(), b); err != nil || n != []int{3, 1}[process] {
			t.Errorf("%d parts are missing, %v", n, err)
		}
		if err := d.Write(t.Context(), b, process, processes); err != nil {
			t.Fatal(err)
		}
		if _, _, err := checkpoint.Latest(t.Context(), b); !errors.Is(err, checkpoint.ErrNone) {
			t.Errorf("before the manifest: %v", err)
		}
	}
	if n, err := drafts[0].Missing(t.Context(), b); err != nil || n != 0 || drafts[0].Bytes() != 172 {
		t.Errorf("%d parts are missing, %d bytes, %v", n, drafts[0].Bytes(), err)
	}
	if err := drafts[0].Commit(t.Context(), b, before); err != nil {
		t.Fatal(err)
	}
	check(t, b, 5, 1)
}

// TestRandomCrashes lets a run save and prune, die at a random operation in a random way, and go on, 1,000 times. Whatever
// happens there is a whole checkpoint, at least as new as the last one whose Save returned.
func TestRandomCrashes(t *testing.T) {
	r := random.New(random.PurposeTest, 7)
	for life := 0; life < 1000; {
		b := mem.New()
		step, acknowledged := 0, 0
		for range 20 {
			life++
			fault := []storagetest.Fault{storagetest.Lost, storagetest.Late}[r.IntN(2)]
			faulty := &storagetest.Faulty{Bucket: b, At: r.IntN(25), Fault: fault}
			for range 4 {
				step++
				if err := checkpoint.Save(t.Context(), faulty, manifest(step), state(float32(step))); err != nil {
					break
				}
				acknowledged = step
				retention := checkpoint.Retention{Last: 1 + r.IntN(3), Every: r.IntN(4), Grace: time.Duration(r.IntN(2)) * time.Hour}
				if _, err := checkpoint.Prune(t.Context(), faulty, retention, time.Now(), false); err != nil {
					break
				}
			}
			m, _, err := checkpoint.Latest(t.Context(), b)
			if errors.Is(err, checkpoint.ErrNone) && acknowledged == 0 {
				step = 0
				continue
			}
			if err != nil || m.Step < acknowledged || m.Step > step {
				t.Fatalf("life %d: Latest = %+v, %v; step %d was acknowledged", life, m, err, acknowledged)
			}
			check(t, b, m.Step, float32(m.Step))
			step = m.Step // the run is resumed
		}
	}
}

// TestCorruptReads reads through a store that flips bits, cuts answers off and fails: what comes out is right, or an error.
func TestCorruptReads(t *testing.T) {
	b := mem.New()
	save(t, b, 1, 1)
	save(t, b, 2, 2)
	r := random.New(random.PurposeTest, 8)
	right := 0
	for range 500 {
		f := &storagetest.Flaky{Bucket: b, Next: func(operation, key string) storagetest.Trouble {
			if r.IntN(3) > 0 {
				return storagetest.None
			}
			return []storagetest.Trouble{storagetest.Fails, storagetest.Corrupts, storagetest.CutOff}[r.IntN(3)]
		}}
		if _, parts, err := checkpoint.Load(t.Context(), f, 2); err == nil {
			right++
			for name, want := range state(2) {
				if !parts[name].Equal(want) {
					t.Fatalf("part %s is wrong", name)
				}
			}
		} else if !errors.Is(err, checkpoint.ErrDamaged) && !errors.Is(err, storagetest.ErrInjected) {
			t.Fatal(err)
		}
	}
	if right < 50 {
		t.Errorf("only %d loads of 500 came through", right)
	}
}

func TestListAndExport(t *testing.T) {
	b := mem.New()
	for step := 1; step <= 3; step++ {
		save(t, b, step, float32(step))
	}
	if err := b.Delete(t.Context(), object(t, b, "checkpoints/00000002/params.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteAll(t.Context(), b, "checkpoints/00000004/params-x.safetensors", []byte("12345")); err != nil {
		t.Fatal(err)
	}
	damage(t, b, "checkpoints/00000001/manifest.json", func(data []byte) []byte { return data[1:] })
	infos, err := checkpoint.List(t.Context(), b)
	if err != nil || len(infos) != 4 {
		t.Fatal(infos, err)
	}
	for i, want := range []string{"did not finish", "", "is not there", "damaged"} {
		x := infos[i]
		if x.Step != 4-i || (want == "") != (x.Fault == "") || !strings.Contains(x.Fault, want) || x.Finished == (i == 0) || x.Bytes < 5 || x.Modified.IsZero() {
			t.Errorf("%+v; want step %d with %q", x, 4-i, want)
		}
	}
	to := mem.New()
	if err := checkpoint.Export(t.Context(), b, 3, to); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, to); !slices.Equal(got, []string{"buffers.safetensors", "manifest.json", "optimizer.safetensors", "params.safetensors"}) {
		t.Errorf("exported %q", got)
	}
	for step, want := range map[int]error{2: checkpoint.ErrDamaged, 1: checkpoint.ErrDamaged, 9: storage.ErrNotFound} {
		if err := checkpoint.Export(t.Context(), b, step, mem.New()); !errors.Is(err, want) {
			t.Errorf("Export of step %d = %v", step, err)
		}
		if _, err := checkpoint.Verify(t.Context(), b, step); !errors.Is(err, want) {
			t.Errorf("Verify of step %d = %v", step, err)
		}
	}
	if m, err := checkpoint.Verify(t.Context(), b, 3); err != nil || m.Step != 3 {
		t.Errorf("Verify = %+v, %v", m, err)
	}
}
