package feed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"

	"pupil/augment"
	"pupil/storage/dataset"
	"pupil/storage/mem"
	"pupil/worker/feed"
)

// packed is a dataset of n small black images.
func packed(ctx context.Context, n int) (*dataset.Dataset, error) {
	var black bytes.Buffer
	if err := png.Encode(&black, image.NewGray(image.Rect(0, 0, 4, 4))); err != nil {
		return nil, err
	}
	b := mem.New()
	w, err := dataset.NewWriter(b, dataset.WriterOptions{Classes: []string{"black"}})
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := w.Add(ctx, fmt.Sprintf("%d.png", i), 0, black.Bytes()); err != nil {
			return nil, err
		}
	}
	if err := w.Close(ctx); err != nil {
		return nil, err
	}
	return dataset.Open(ctx, b)
}

func Example() {
	ctx := context.Background()
	data, err := packed(ctx, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	view, err := augment.New(augment.Config{Size: 4, Channels: 1, Flip: 0.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	both, err := augment.NewViews(nil, view, augment.PolicyIndependent) // there is no teacher
	if err != nil {
		fmt.Println(err)
		return
	}
	// Two lanes share batches of 4; this worker carries lane 1, for the 2 steps of the first epoch.
	f, err := feed.New(feed.Config{
		Data: data, Views: both, Seed: 1,
		Order: dataset.Order{
			Count: 10, Batch: 4, Lanes: 2, Chunk: 5, ShardCounts: data.Manifest().ShardCounts(), Seed: 1,
		},
	}, []int{1}, 0, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	for {
		b, err := f.Next(ctx, 1)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println("step", b.Step, "lane", b.Lane, "images", len(b.Samples), "values", len(b.Student))
		b.Release()
	}
	fmt.Println(<-ended)
	// Output:
	// step 0 lane 1 images 2 values 32
	// step 1 lane 1 images 2 values 32
	// <nil>
}
