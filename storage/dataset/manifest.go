package dataset

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"pupil/storage"
)

// ManifestKey is the key of a packed dataset's manifest.
const ManifestKey = "manifest.json"

// version is the layout that this package writes and reads.
const version = 1

const (
	tarSuffix   = ".tar"
	indexSuffix = ".json"
)

// Manifest describes a packed dataset.
type Manifest struct {
	Version  int         `json:"version"`  // of the layout: 1
	Count    int         `json:"count"`    // images
	Classes  []string    `json:"classes"`  // names by label; empty when no image has a label
	Channels int         `json:"channels"` // 1 when every pixel of every image is grey, else 3
	Mean     []float64   `json:"mean"`     // by channel, over all pixels / 255
	Std      []float64   `json:"std"`      // by channel, of all pixels / 255; at least 1/255
	Shards   []ShardInfo `json:"shards"`   // in the order of the images' numbers
}

// ShardInfo describes a shard.
type ShardInfo struct {
	Name        string `json:"name"`         // key of the tar file
	Count       int    `json:"count"`        // images
	Size        int64  `json:"size"`         // bytes of the tar file
	SHA256      string `json:"sha256"`       // of the tar file, hexadecimal
	IndexSHA256 string `json:"index_sha256"` // of the index, hexadecimal
}

// Index returns the key of the shard's index.
func (s ShardInfo) Index() string { return strings.TrimSuffix(s.Name, tarSuffix) + indexSuffix }

// ShardCounts returns the images of each shard, as Order wants them.
func (m Manifest) ShardCounts() []int {
	counts := make([]int, len(m.Shards))
	for i, s := range m.Shards {
		counts[i] = s.Count
	}
	return counts
}

// Bytes returns the size of all shards, without the indexes.
func (m Manifest) Bytes() int64 {
	var sum int64
	for _, s := range m.Shards {
		sum += s.Size
	}
	return sum
}

func (m Manifest) clone() Manifest {
	m.Classes, m.Shards = slices.Clone(m.Classes), slices.Clone(m.Shards)
	m.Mean, m.Std = slices.Clone(m.Mean), slices.Clone(m.Std)
	return m
}

// decodeManifest reads and checks a manifest. What it returns is consistent: counts add up, names are valid keys.
func decodeManifest(data []byte) (Manifest, error) {
	var m Manifest
	if err := strict(data, &m); err != nil {
		return m, err
	}
	if m.Version != version {
		return m, fmt.Errorf("layout version %d, this build reads version %d", m.Version, version)
	}
	if m.Channels != 1 && m.Channels != 3 {
		return m, fmt.Errorf("channels is %d, not 1 or 3", m.Channels)
	}
	if err := checkStatistics(m); err != nil {
		return m, err
	}
	if err := checkClasses(m.Classes); err != nil {
		return m, err
	}
	return m, checkShards(m)
}

func checkStatistics(m Manifest) error {
	if len(m.Mean) != m.Channels || len(m.Std) != m.Channels {
		return fmt.Errorf("%d values of mean and %d of std for %d channels", len(m.Mean), len(m.Std), m.Channels)
	}
	for c := range m.Channels {
		if !(m.Mean[c] >= 0 && m.Mean[c] <= 1) || !(m.Std[c] > 0 && m.Std[c] <= 1) {
			return fmt.Errorf("mean %v, std %v of channel %d lie outside of what images can have", m.Mean[c], m.Std[c], c)
		}
	}
	return nil
}

// checkClasses checks names of classes: each is the folder of its images in the tar files.
func checkClasses(classes []string) error {
	seen := make(map[string]bool, len(classes))
	for label, name := range classes {
		if strings.Contains(name, "/") || storage.ValidateKey(name) != nil {
			return fmt.Errorf("class %d is named %q; a name is used as a folder's, without '/', '\\' and control characters",
				label, name)
		}
		if seen[name] {
			return fmt.Errorf("two classes are named %q", name)
		}
		seen[name] = true
	}
	return nil
}

func checkShards(m Manifest) error {
	seen := make(map[string]bool, len(m.Shards))
	count := 0
	for i, s := range m.Shards {
		switch {
		case !strings.HasSuffix(s.Name, tarSuffix) || storage.ValidateKey(s.Name) != nil || s.Index() == ManifestKey:
			return fmt.Errorf("shard %d has the name %q, want a key that ends with %s", i, s.Name, tarSuffix)
		case seen[s.Name]:
			return fmt.Errorf("shard %d: %s comes twice", i, s.Name)
		case s.Count < 1 || s.Count > math.MaxInt-count:
			return fmt.Errorf("shard %s: count %d is out of range", s.Name, s.Count)
		case s.Size < 1 || s.Size > maxShard:
			return fmt.Errorf("shard %s: size %d is out of range", s.Name, s.Size)
		case !isSHA256(s.SHA256) || !isSHA256(s.IndexSHA256):
			return fmt.Errorf("shard %s: a SHA-256 is not 64 hexadecimal digits", s.Name)
		}
		seen[s.Name] = true
		count += s.Count
	}
	if count != m.Count || count == 0 {
		return fmt.Errorf("count is %d, the shards hold %d images", m.Count, count)
	}
	return nil
}

func isSHA256(s string) bool {
	sum, err := hex.DecodeString(s)
	return err == nil && len(sum) == 32 && s == strings.ToLower(s)
}

// strict decodes JSON that has no unknown keys and nothing after its value.
func strict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it is cut off")
		}
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}
