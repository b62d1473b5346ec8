package feed_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pupil/augment"
	"pupil/storage/dataset"
	"pupil/worker/feed"
)

func TestBrokenImageIsAnError(t *testing.T) {
	b, d := pack(t, 40, 10)
	c := feed.Config{Data: d, Order: order(d, 8, 2, 5), Views: views(t, nil, strong(t)), Seed: 5, Workers: 3}
	_, samples := c.Order.At(3, 1)
	c.Data = damage(t, b, samples[2])
	got, failures, err := run(t, c, []int{0, 1}, 0, 5)
	if len(got[0]) != 5 || !errors.Is(failures[0], io.EOF) {
		t.Errorf("the lane without a broken image: %d batches, then %v", len(got[0]), failures[0])
	}
	if len(got[1]) != 3 {
		t.Errorf("the lane with a broken image in step 3 gave %d batches", len(got[1]))
	}
	name, shard := fmt.Sprintf("%04d.png", samples[2]), fmt.Sprintf("shard-%05d.tar", samples[2]/10)
	for _, err := range []error{failures[1], err} {
		if !errors.Is(err, feed.ErrBroken) {
			t.Fatalf("error %v", err)
		}
		for _, part := range []string{name, shard, "lane 1, step 3", "decode PNG image"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v does not name %q", err, part)
			}
		}
	}
}

// A broken image is replaced by the next whole one of the lane's epoch, cyclically, in every schedule.
func TestBrokenImagesAreReplaced(t *testing.T) {
	b, d := pack(t, 40, 10)
	c := feed.Config{Data: d, Order: order(d, 8, 2, 5), Views: views(t, weak(t), strong(t)), Seed: 5, SkipBroken: true}
	lane := c.Order.Lane(0, 1)
	last := len(lane) - 1
	broken := map[int]bool{lane[4]: true, lane[5]: true, lane[last]: true}
	c.Data = damage(t, b, lane[4], lane[5], lane[last])
	next := func(order []int, position int) int { // the definition
		for broken[order[position]] {
			position = (position + 1) % len(order)
		}
		return order[position]
	}
	for _, workers := range []int{1, 4} {
		c.Workers = workers
		got, failures, err := run(t, c, []int{0, 1}, 0, 15)
		if err != nil || !errors.Is(failures[0], io.EOF) || !errors.Is(failures[1], io.EOF) {
			t.Fatal(err, failures)
		}
		for l, batches := range got {
			for _, batch := range batches {
				epoch := batch.Step / 5
				order := c.Order.Lane(epoch, l)
				skipped := 0
				for i, s := range batch.Samples {
					position := batch.Step%5*4 + i
					want := next(order, position)
					if s.Index != want || batch.Labels[i] != want%2 {
						t.Fatalf("lane %d, step %d, image %d: sample %d, want %d", l, batch.Step, i, s.Index, want)
					}
					if broken[order[position]] {
						skipped++
					}
					key := augment.Key{Seed: 5, Epoch: uint64(epoch), Sample: uint64(order[position]), View: 1}
					checkView(t, c.Views.Student(), batch.Student[i*size*size:][:size*size], want, key)
				}
				if batch.Skipped != skipped {
					t.Errorf("lane %d, step %d: skipped %d, want %d", l, batch.Step, batch.Skipped, skipped)
				}
			}
		}
	}
}

func checkView(t *testing.T, p *augment.Pipeline, got []float32, number int, key augment.Key) {
	t.Helper()
	img, err := augment.Decode(picture(t, number), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, p.Len())
	p.Apply(want, img, key)
	if !slices.Equal(got, want) {
		t.Fatalf("the view of sample %d with key %+v differs", number, key)
	}
}

func TestNothingButBrokenImages(t *testing.T) {
	b, d := pack(t, 8, 8)
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	c := feed.Config{Data: damage(t, b, all...), Order: order(d, 4, 1, 4), Views: views(t, nil, strong(t)), SkipBroken: true}
	_, failures, _ := run(t, c, []int{0}, 0, 2)
	if err := failures[0]; !errors.Is(err, feed.ErrBroken) || !strings.Contains(err.Error(), "no image of lane 0") {
		t.Errorf("error %v", err)
	}
}

// A shard that is not what was packed is never skipped.
func TestDamagedShardIsAnError(t *testing.T) {
	b, d := pack(t, 20, 5)
	name := d.Manifest().Shards[2].Name
	data := read(t, b, name)
	data[530] ^= 1
	write(t, b, name, data)
	c := feed.Config{Data: open(t, b), Order: order(d, 4, 1, 5), Views: views(t, nil, strong(t)), SkipBroken: true}
	_, failures, err := run(t, c, []int{0}, 0, 5)
	for _, err := range []error{err, failures[0]} {
		if !errors.Is(err, dataset.ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v", err)
		}
	}
}
