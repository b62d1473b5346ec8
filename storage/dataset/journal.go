package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"pupil/storage"
)

// journalFolder holds an object for each whole shard of an import that has not ended.
const journalFolder = "importing/"

// journal is how far an import has come. It is stored after each shard, so that an interrupted import goes on there.
type journal struct {
	bucket  storage.Bucket
	source  string // fingerprint of images and options
	next    int    // images that were packed or refused
	refused []Refusal
	stored  int // of refused, how many the pages written so far hold
}

// page is what the journal stores with a shard.
type page struct {
	Source     string     `json:"source"`
	Next       int        `json:"next"`
	Shard      ShardInfo  `json:"shard"`
	Statistics statistics `json:"statistics"` // of this shard and all before it
	Refused    []Refusal  `json:"refused"`    // since the shard before
}

func pageKey(shard int) string { return fmt.Sprintf("%s%05d.json", journalFolder, shard) }

// write stores the page of the shard that was written last.
func (j *journal) write(ctx context.Context, w *Writer) error {
	shard := len(w.manifest.Shards) - 1
	data, err := json.Marshal(page{j.source, j.next, w.manifest.Shards[shard], w.stats, j.refused[j.stored:]})
	if err != nil {
		return fmt.Errorf("encode the import's journal: %w", err)
	}
	j.stored = len(j.refused)
	return storage.WriteAll(ctx, j.bucket, pageKey(shard), data)
}

// resume brings a new Writer to where an import of the same source was interrupted, or removes what one of another left.
func (j *journal) resume(ctx context.Context, w *Writer, images []Image) error {
	objects, err := j.bucket.List(ctx, "")
	if err != nil {
		return err
	}
	sizes := make(map[string]int64, len(objects))
	for _, o := range objects {
		sizes[o.Key] = o.Size
	}
	for shard := 0; ; shard++ {
		p, err := j.page(ctx, shard)
		if err != nil {
			return err
		}
		_, indexed := sizes[p.Shard.Index()]
		size, whole := sizes[p.Shard.Name]
		if p.Source != j.source || p.Next <= j.next || p.Next > len(images) || !indexed || !whole || size != p.Shard.Size {
			break
		}
		w.restore(p, images[j.next:p.Next])
		j.next = p.Next
		j.refused = append(j.refused, p.Refused...)
		j.stored = len(j.refused)
	}
	return j.clean(ctx, sizes, w)
}

// page returns a stored page, or an empty one.
func (j *journal) page(ctx context.Context, shard int) (page, error) {
	var p page
	data, err := storage.ReadAll(ctx, j.bucket, pageKey(shard), maxManifest)
	if errors.Is(err, storage.ErrNotFound) {
		return p, nil
	}
	if err == nil && json.Unmarshal(data, &p) != nil {
		p = page{} // it begins anew here
	}
	return p, err
}

var ours = regexp.MustCompile(`^(shard-\d{5,}\.(tar|json)|importing/\d{5,}\.json)$`)

// clean removes the shards and pages that the Writer will not have: of another source, or of a shard that was not whole.
func (j *journal) clean(ctx context.Context, sizes map[string]int64, w *Writer) error {
	keep := map[string]bool{}
	for i, s := range w.manifest.Shards {
		keep[s.Name], keep[s.Index()], keep[pageKey(i)] = true, true, true
	}
	for key := range sizes {
		if ours.MatchString(key) && !keep[key] {
			if err := j.bucket.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove deletes the journal of an import that has ended well.
func (j *journal) remove(ctx context.Context) error {
	pages, err := j.bucket.List(ctx, journalFolder)
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := j.bucket.Delete(ctx, p.Key); err != nil {
			return err
		}
	}
	return nil
}
