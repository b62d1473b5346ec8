package dataset

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"pupil/storage"
)

// Limits of what a reader loads at once, in bytes.
const (
	maxManifest = 1 << 28
	maxIndex    = 1 << 30
	maxShard    = 1 << 40
)

// indexVersion is the layout that a Writer writes. Version 1 had no sums; its shards are read whole, to be checked.
const indexVersion = 2

// index lists the images of a shard in the order of the tar file.
type index struct {
	Version int     `json:"version"`
	Entries []entry `json:"entries"`
}

// entry is one image of a shard.
type entry struct {
	Name   string `json:"name"`          // of the tar entry
	Offset int64  `json:"offset"`        // of the encoded image in the tar file, bytes
	Size   int64  `json:"size"`          // of the encoded image, bytes
	Label  int    `json:"label"`         // -1 for none
	Sum    string `json:"sum,omitempty"` // the first 16 digits of the SHA-256 of the encoded image; since version 2
}

// sumDigits are those of an image's hash that an index holds.
const sumDigits = 16

func (x index) encode() ([]byte, error) { return json.Marshal(x) }

// decodeIndex reads and checks the index of a shard. Every entry lies inside the shard, after the one before it.
func decodeIndex(data []byte, shard ShardInfo, classes int) ([]entry, error) {
	var x index
	if err := strict(data, &x); err != nil {
		return nil, err
	}
	if x.Version < 1 || x.Version > indexVersion {
		return nil, fmt.Errorf("layout version %d, this build reads versions 1 to %d", x.Version, indexVersion)
	}
	if len(x.Entries) != shard.Count {
		return nil, fmt.Errorf("%d images, the manifest says %d", len(x.Entries), shard.Count)
	}
	end := int64(0)
	for i, e := range x.Entries {
		switch {
		case storage.ValidateKey(e.Name) != nil:
			return nil, fmt.Errorf("image %d: %q is not a valid name", i, e.Name)
		case e.Offset < end || e.Offset > shard.Size:
			return nil, fmt.Errorf("image %s: offset %d is out of range", e.Name, e.Offset)
		case e.Size < 0 || e.Size > shard.Size-e.Offset:
			return nil, fmt.Errorf("image %s: %d bytes at %d do not fit the shard's %d", e.Name, e.Size, e.Offset, shard.Size)
		case e.Label < -1 || e.Label >= classes:
			return nil, fmt.Errorf("image %s: label %d, but there are %d classes", e.Name, e.Label, classes)
		}
		if sum, err := hex.DecodeString(e.Sum); err != nil || x.Version > 1 != (len(sum) == sumDigits/2) {
			return nil, fmt.Errorf("image %s: the sum %q is not one of version %d", e.Name, e.Sum, x.Version)
		}
		end = e.Offset + e.Size
	}
	return x.Entries, nil
}
