package feed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"pupil/worker/feed"
)

func TestEvaluationReadsEveryImageInOrder(t *testing.T) {
	_, d := pack(t, 23, 6)
	for _, x := range []struct{ batch, workers int }{{5, 1}, {5, 4}, {23, 2}, {1, 0}, {64, 3}} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			number := 0
			for b, err := range feed.Evaluation(t.Context(), feed.EvaluationConfig{
				Data: d, View: plain(t), Batch: x.batch, Workers: x.workers,
			}) {
				if err != nil {
					t.Fatal(err)
				}
				if want := min(x.batch, 23-number); b.Count != want || len(b.Labels) != want || len(b.Samples) != want {
					t.Fatalf("count %d, labels %d, want %d", b.Count, len(b.Labels), want)
				}
				if len(b.Images) != x.batch*size*size || b.Skipped != 0 {
					t.Fatalf("%d values, %d skipped", len(b.Images), b.Skipped)
				}
				for i := range b.Count {
					pixel, sample, label := b.Images[i*size*size], b.Samples[i].Index, b.Labels[i]
					if pixel != float32(number)/255 || sample != number || label != number%2 {
						t.Fatalf("image %d is sample %d, label %d; want %d", i, sample, label, number)
					}
					number++
				}
				for i, v := range b.Images[b.Count*size*size:] {
					if v != 0 {
						t.Fatalf("value %d after the last image is %g", i, v)
					}
				}
			}
			if number != 23 {
				t.Errorf("%d of 23 images", number)
			}
		})
	}
}

// A limit reads so many images, spread over the dataset.
func TestEvaluationLimit(t *testing.T) {
	_, d := pack(t, 23, 6)
	for limit, want := range map[int]string{
		1: "[0]", 4: "[0 5 11 17]", 22: "[0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21]", 23: "all", 100: "all",
	} {
		var numbers []int
		for b, err := range feed.Evaluation(t.Context(), feed.EvaluationConfig{Data: d, View: plain(t), Batch: 3, Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range b.Samples {
				if b.Images[i*size*size] != float32(s.Index)/255 {
					t.Errorf("image %d has the pixels of another", s.Index)
				}
				numbers = append(numbers, s.Index)
			}
		}
		if want == "all" && len(numbers) == 23 {
			continue
		}
		if fmt.Sprint(numbers) != want {
			t.Errorf("limit %d: images %v, want %s", limit, numbers, want)
		}
	}
}

func TestEvaluationOfBrokenImages(t *testing.T) {
	b, _ := pack(t, 20, 10)
	d := damage(t, b, 0, 6, 7, 15, 16, 17, 18, 19)
	c := feed.EvaluationConfig{Data: d, View: plain(t), Batch: 5, Workers: 3, SkipBroken: true}
	var numbers []int
	skipped := 0
	for b, err := range feed.Evaluation(t.Context(), c) {
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range b.Samples {
			if b.Images[i*size*size] != float32(s.Index)/255 || b.Labels[i] != s.Index%2 {
				t.Errorf("image %d has the pixels or the label of another", s.Index)
			}
			numbers = append(numbers, s.Index)
		}
		skipped += b.Skipped
	}
	if want := "[1 2 3 4 5 8 9 10 11 12 13 14]"; fmt.Sprint(numbers) != want || skipped != 8 {
		t.Errorf("images %v, skipped %d; want %s", numbers, skipped, want)
	}

	c.SkipBroken = false
	var last error
	for b, err := range feed.Evaluation(t.Context(), c) {
		if b != nil && err == nil {
			t.Errorf("a batch of %v came with a broken image in it", b.Samples)
		}
		last = err
	}
	if !errors.Is(last, feed.ErrBroken) || !strings.Contains(last.Error(), "0000.png") {
		t.Errorf("error %v", last)
	}
}

func TestEvaluationEndsWhereTheCallerEnds(t *testing.T) {
	bucket, d := pack(t, 30, 10)
	for _, after := range []int{1, 2, 6} {
		synctest.Test(t, func(t *testing.T) { // fails when a goroutine is left
			n := 0
			c := feed.EvaluationConfig{Data: open(t, bucket), View: plain(t), Batch: 5}
			for range feed.Evaluation(t.Context(), c) {
				if n++; n == after {
					break
				}
			}
		})
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var last error
	for b, err := range feed.Evaluation(ctx, feed.EvaluationConfig{Data: d, View: plain(t), Batch: 5}) {
		if b != nil {
			cancel(why)
		}
		last = err
	}
	if !errors.Is(last, why) {
		t.Errorf("error %v", last)
	}
}

func TestEvaluationListsEveryFault(t *testing.T) {
	for b, err := range feed.Evaluation(t.Context(), feed.EvaluationConfig{Workers: -1, Batch: 0}) {
		if b != nil || err == nil {
			t.Fatal(b, err)
		}
		for _, part := range []string{"no dataset", "no view", "channels", "batch is 0", "workers is -1"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not speak of %q", err, part)
			}
		}
	}
}
