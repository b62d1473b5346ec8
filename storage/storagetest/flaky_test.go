package storagetest_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/storagetest"
)

func TestFlakyWithoutTroubleKeepsTheContract(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket {
		return &storagetest.Flaky{Bucket: mem.New(), Next: func(string, string) storagetest.Trouble { return storagetest.None }}
	})
}

func TestTroubles(t *testing.T) {
	for trouble, want := range map[storagetest.Trouble]struct{ stored, read string }{
		storagetest.Fails: {"old!", ""}, storagetest.Unheard: {"new?", ""}, storagetest.TornPut: {"ne", ""},
		storagetest.Hangs: {"old!", ""}, storagetest.Corrupts: {"new?", "ne\x7b?"}, storagetest.CutOff: {"new?", ""},
	} {
		inside := mem.New()
		f := &storagetest.Flaky{Bucket: inside, Next: func(string, string) storagetest.Trouble { return trouble }}
		if err := storage.WriteAll(t.Context(), inside, "k", []byte("old!")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if trouble == storagetest.Hangs {
			cancel()
		}
		putErr := storage.WriteAll(ctx, f, "k", []byte("new?"))
		if reads := trouble == storagetest.Corrupts || trouble == storagetest.CutOff; (putErr == nil) != reads {
			t.Errorf("trouble %d: Put = %v", trouble, putErr)
		}
		if got, err := storage.ReadAll(t.Context(), inside, "k", 10); err != nil || string(got) != want.stored {
			t.Errorf("trouble %d: stored %q, %v; want %q", trouble, got, err, want.stored)
		}
		got, err := storage.ReadAll(ctx, f, "k", 10)
		if (err == nil) != (want.read != "") || err == nil && !bytes.Equal(got, []byte("new?"[:2]+string("new?"[2]^4)+"?")) {
			t.Errorf("trouble %d: Get = %q, %v", trouble, got, err)
		}
		if err != nil && !errors.Is(err, storagetest.ErrInjected) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}
