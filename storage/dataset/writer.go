package dataset

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"pupil/storage"
)

// DefaultShardSize is the number of images in a shard when WriterOptions leave it open.
const DefaultShardSize = 1000

// WriterOptions say how a dataset is packed.
type WriterOptions struct {
	ShardSize int      // images in a shard; default DefaultShardSize
	Classes   []string // names by label; without '/'; empty for images without labels
}

// Writer packs a dataset. It is not safe for concurrent use. The same images in the same order give the same bytes:
// the tar entries have no times, owners or modes of their own.
type Writer struct {
	bucket   storage.Bucket
	size     int
	manifest Manifest
	stats    statistics
	names    map[string]bool // of all entries: a dataset can be extracted into one folder

	tar    bytes.Buffer // the shard that is being filled
	writer *tar.Writer
	index  index

	begun bool  // the bucket was found to hold no dataset
	err   error // of the first Put or Close that failed; the Writer is then of no use
}

// ErrImage says that an image cannot be packed. The Writer can still be used. Test for it with errors.Is.
var ErrImage = errors.New("cannot pack image")

var errClosed = errors.New("pack dataset: the writer is closed")

// NewWriter returns a Writer; it checks the options, and does no I/O. The first Add or Close fails when the bucket
// holds a dataset already: a dataset in use does not change.
func NewWriter(b storage.Bucket, o WriterOptions) (*Writer, error) {
	if o.ShardSize < 0 {
		return nil, fmt.Errorf("pack dataset: shard size %d, want 1 or more", o.ShardSize)
	}
	if o.ShardSize == 0 {
		o.ShardSize = DefaultShardSize
	}
	if err := checkClasses(o.Classes); err != nil {
		return nil, fmt.Errorf("pack dataset: %w", err)
	}
	w := &Writer{bucket: b, size: o.ShardSize, names: map[string]bool{}}
	w.manifest = Manifest{Version: version, Classes: append([]string{}, o.Classes...), Shards: []ShardInfo{}}
	w.begin()
	return w, nil
}

// begin starts an empty shard.
func (w *Writer) begin() {
	w.tar.Reset()
	w.writer = tar.NewWriter(&w.tar)
	w.index = index{Version: indexVersion, Entries: []entry{}}
}

// Add appends an encoded image of a format that augment.Decode reads. Its entry is CLASS/name for a label, and name for the
// label -1. ErrImage leaves the dataset as if Add had not been called, so that a caller can leave out a broken image and go
// on. After any other error the Writer is of no use.
func (w *Writer) Add(ctx context.Context, name string, label int, encoded []byte) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	var s statistics
	if err := s.addEncoded(encoded); err != nil {
		return fmt.Errorf("%w %s: %w", ErrImage, name, err)
	}
	return w.add(ctx, name, label, encoded, s, func() error { return nil })
}

// add appends an image that was decoded, with its own statistics. stored is called after a shard was.
func (w *Writer) add(ctx context.Context, name string, label int, encoded []byte, s statistics, stored func() error) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	entry, err := w.entryName(name, label)
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrImage, name, err)
	}
	if w.err = w.append(entry, label, encoded); w.err != nil {
		return w.err
	}
	w.stats.merge(s)
	if len(w.index.Entries) == w.size {
		if w.err = w.flush(ctx); w.err == nil {
			w.err = stored()
		}
	}
	return w.err
}

// restore brings the Writer to the end of a shard that is stored already: the next, made of some of images.
func (w *Writer) restore(p page, images []Image) {
	refused := map[string]bool{}
	for _, r := range p.Refused {
		refused[r.Origin] = true
	}
	for _, m := range images {
		if entry, err := w.entryName(m.Name, m.Label); err == nil && !refused[m.Origin] {
			w.names[entry] = true
		}
	}
	w.manifest.Shards = append(w.manifest.Shards, p.Shard)
	w.manifest.Count += p.Shard.Count
	w.stats = p.Statistics
}

// usable returns the error of an earlier call, or of a bucket that holds a dataset.
func (w *Writer) usable(ctx context.Context) error {
	if w.err != nil || w.begun {
		return w.err
	}
	r, err := w.bucket.Get(ctx, ManifestKey, 0, 0)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		w.begun = true
		return nil
	case err != nil:
		return fmt.Errorf("pack dataset: %w", err)
	}
	w.err = fmt.Errorf("pack dataset: %s holds a packed dataset already; choose an empty place, or remove that one first",
		w.bucket.URL())
	return errors.Join(w.err, r.Close())
}

// entryName returns the name of an image's entry.
func (w *Writer) entryName(name string, label int) (string, error) {
	if label < -1 || label >= len(w.manifest.Classes) {
		return "", fmt.Errorf("label %d, but there are %d classes", label, len(w.manifest.Classes))
	}
	if label >= 0 {
		name = w.manifest.Classes[label] + "/" + name
	}
	if err := storage.ValidateKey(name); err != nil {
		return "", err
	}
	if w.names[name] {
		return "", fmt.Errorf("%q is in the dataset already", name)
	}
	return name, nil
}

// append writes an entry to the shard: without time and owner. A name that ustar cannot hold gets a PAX record.
func (w *Writer) append(name string, label int, encoded []byte) error {
	size := int64(len(encoded))
	if err := w.writer.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}); err != nil {
		return fmt.Errorf("pack dataset: %s: %w", name, err)
	}
	w.index.Entries = append(w.index.Entries, entry{
		Name: name, Offset: int64(w.tar.Len()), Size: size, Label: label, Sum: digest(encoded)[:sumDigits],
	})
	w.names[name] = true
	if _, err := w.writer.Write(encoded); err != nil {
		return fmt.Errorf("pack dataset: %s: %w", name, err)
	}
	return nil
}

// flush stores the shard and its index, and starts the next.
func (w *Writer) flush(ctx context.Context) error {
	if err := w.writer.Close(); err != nil {
		return fmt.Errorf("pack dataset: %w", err)
	}
	data, err := w.index.encode()
	if err != nil {
		return fmt.Errorf("pack dataset: encode index: %w", err)
	}
	s := ShardInfo{
		Name:  fmt.Sprintf("shard-%05d%s", len(w.manifest.Shards), tarSuffix),
		Count: len(w.index.Entries), Size: int64(w.tar.Len()), SHA256: digest(w.tar.Bytes()), IndexSHA256: digest(data),
	}
	if err := storage.WriteAll(ctx, w.bucket, s.Name, w.tar.Bytes()); err != nil {
		return fmt.Errorf("pack dataset: %w", err)
	}
	if err := storage.WriteAll(ctx, w.bucket, s.Index(), data); err != nil {
		return fmt.Errorf("pack dataset: %w", err)
	}
	w.manifest.Shards = append(w.manifest.Shards, s)
	w.manifest.Count += s.Count
	w.begin()
	return nil
}

// Close stores the last shard and, when all else is stored, the manifest. A dataset without images is an error. Without
// a Close that succeeds there is no dataset. The Writer cannot be used after it.
func (w *Writer) Close(ctx context.Context) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	w.err = errClosed
	if len(w.index.Entries) > 0 {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	if w.manifest.Count == 0 {
		return errors.New("pack dataset: there are no images")
	}
	w.manifest.Channels, w.manifest.Mean, w.manifest.Std = w.stats.result()
	data, err := json.MarshalIndent(w.manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("pack dataset: encode manifest: %w", err)
	}
	if err := storage.WriteAll(ctx, w.bucket, ManifestKey, append(data, '\n')); err != nil {
		return fmt.Errorf("pack dataset: %w", err)
	}
	return nil
}

// Manifest returns the manifest that Close has stored.
func (w *Writer) Manifest() Manifest { return w.manifest.clone() }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
