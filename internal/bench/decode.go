package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"

	"pupil/augment"
	"pupil/internal/random"
	"pupil/storage/dataset"
	"pupil/storage/mem"
	"pupil/worker/feed"
)

// The views of both sides: crops with these shares of the area, and a flip of every other one.
var (
	teacherCrop = augment.Crop{Scale: [2]float64{0.9, 1}, Ratio: [2]float64{3. / 4, 4. / 3}}
	studentCrop = augment.Crop{Scale: [2]float64{0.25, 1}, Ratio: [2]float64{3. / 4, 4. / 3}}
)

const flip = 0.5

// encode makes the files of one batch: JPEGs whose sides are 8/7 of the networks' input, as datasets have them, and PNGs of
// the input's size where that is small.
func encode(p pair) (files [][]byte, err error) {
	size, small := p.student.Size*8/7, p.student.Size < 64
	if small {
		size = p.student.Size
	}
	for i := range p.batch {
		picture := draw(size, uint64(i))
		var file bytes.Buffer
		if small {
			err = png.Encode(&file, picture)
		} else {
			err = jpeg.Encode(&file, picture, &jpeg.Options{Quality: 90})
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file.Bytes())
	}
	return files, nil
}

// draw makes waves of three colours with some grain, which compress about as photographs do.
func draw(size int, number uint64) image.Image {
	r := random.New(random.PurposeTest, seed, number)
	var waves [3][4]float64
	for c := range waves {
		for k := range waves[c] {
			waves[c][k] = r.Uniform(2, 20)
		}
	}
	picture := image.NewNRGBA(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			u, v := float64(x)/float64(size), float64(y)/float64(size)
			var rgb [3]uint8
			for c, w := range waves {
				level := math.Sin(w[0]*u+w[1]*v) + math.Cos(w[2]*u*v+w[3])
				rgb[c] = uint8(min(max(128+55*level+8*r.Normal(), 0), 255))
			}
			picture.SetNRGBA(x, y, color.NRGBA{rgb[0], rgb[1], rgb[2], 255})
		}
	}
	return picture
}

// encodedFolder is where PyTorch's side finds the files, in the folder of the models.
const encodedFolder = "encoded"

// writeEncoded keeps the files of a batch for PyTorch's side.
func (m *models) writeEncoded() ([][]byte, error) {
	files, err := encode(m.pair)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(m.folder, encodedFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for i, f := range files {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d", i)), f, 0o644); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// decoding makes the batches of steps from encoded images, as a worker does. A feed runs for the steps of one call, so
// that nothing is decoded before or after them.
type decoding struct {
	config feed.Config
	lanes  []int
	feed   *feed.Feed
	step   int
}

func newDecoding(ctx context.Context, m *models, lanes int) (*decoding, error) {
	files, err := m.writeEncoded()
	if err != nil {
		return nil, err
	}
	bucket := mem.New()
	w, err := dataset.NewWriter(bucket, dataset.WriterOptions{})
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		kind := ".jpg"
		if bytes.HasPrefix(f, []byte("\x89PNG")) {
			kind = ".png"
		}
		if err := w.Add(ctx, fmt.Sprintf("%04d%s", i, kind), -1, f); err != nil {
			return nil, err
		}
	}
	if err := w.Close(ctx); err != nil {
		return nil, err
	}
	d := &decoding{}
	if d.config.Data, err = dataset.Open(ctx, bucket); err != nil {
		return nil, err
	}
	if d.config.Views, err = views(m.pair); err != nil {
		return nil, err
	}
	d.config.Seed, d.config.Workers = seed, lanes
	d.config.Order = dataset.Order{Count: len(files), Batch: len(files), Lanes: lanes, Chunk: 1, Seed: seed}
	for _, s := range d.config.Data.Manifest().Shards {
		d.config.Order.ShardCounts = append(d.config.Order.ShardCounts, s.Count)
	}
	for lane := range lanes {
		d.lanes = append(d.lanes, lane)
	}
	return d, nil
}

func views(p pair) (*augment.Views, error) {
	var both [2]*augment.Pipeline
	for i, crop := range []augment.Crop{teacherCrop, studentCrop} {
		var err error
		both[i], err = augment.New(augment.Config{
			Size: p.student.Size, Channels: 3, Crop: crop, Flip: flip,
			Mean: []float64{0.5, 0.5, 0.5}, Std: []float64{0.25, 0.25, 0.25},
		})
		if err != nil {
			return nil, err
		}
	}
	return augment.NewViews(both[0], both[1], augment.PolicyIndependent)
}

// begin starts the feed of some steps; end waits for it.
func (d *decoding) begin(ctx context.Context, steps int) (end func() error, err error) {
	if d.feed, err = feed.New(d.config, d.lanes, d.step, d.step+steps); err != nil {
		return nil, err
	}
	d.step += steps
	done := make(chan error, 1)
	go func() { done <- d.feed.Run(ctx) }()
	return func() error { return <-done }, nil
}
