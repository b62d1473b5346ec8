package images

import (
	"context"
	"iter"

	"pupil/storage"
	"pupil/storage/dataset"
)

// FromDataset is the images of a packed dataset; with a limit above 0 so many, spread evenly over it.
func FromDataset(d *dataset.Dataset, limit int) *Set {
	s := &Set{}
	s.add(datasetPart("dataset", d, limit))
	return s
}

func openDataset(ctx context.Context, name string, b storage.Bucket) (part, error) {
	d, err := dataset.Open(ctx, b)
	if err != nil {
		return part{}, err
	}
	return datasetPart(name, d, 0), nil
}

func datasetPart(name string, d *dataset.Dataset, limit int) part {
	n := d.Count()
	if limit == 0 || limit > n {
		limit = n
	}
	return part{name: name, classes: d.Manifest().Classes, count: limit, all: func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			for i := range limit {
				s, data, err := d.Sample(ctx, i*n/limit)
				if !yield(Of(s.Name, s.Label, data), err) || err != nil {
					return
				}
			}
		}
	}}
}
