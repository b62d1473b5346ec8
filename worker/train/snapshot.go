package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"unsafe"

	"pupil/storage/safetensors"
)

// maxState bounds a state that is taken from another worker, in bytes (allreduce.MaxState).
const maxState = math.MaxUint32

// header begins an encoded snapshot, after its own length in 4 bytes.
type header struct {
	Step  int             `json:"step"`
	Meta  json.RawMessage `json:"meta"`
	Parts []part          `json:"parts"` // by name; their bytes follow
}

type part struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

// Encode gives a snapshot as one piece, the same bytes for the same state.
func (s Snapshot) Encode() ([]byte, error) {
	h := header{Step: s.Step, Meta: s.Meta}
	var files [][]byte
	for _, name := range slices.Sorted(maps.Keys(s.Parts)) {
		data, err := s.Parts[name].Encode()
		if err != nil {
			return nil, fmt.Errorf("encode part %q of the state: %w", name, err)
		}
		h.Parts = append(h.Parts, part{name, len(data)})
		files = append(files, data)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	data := append(binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head...)
	return slices.Concat(append([][]byte{data}, files...)...), nil
}

// DecodeSnapshot reads what Encode has written.
func DecodeSnapshot(data []byte) (s Snapshot, err error) {
	bad := errors.New("decode the state: it is cut off")
	if len(data) < 4 {
		return s, bad
	}
	n := int64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; n > int64(len(data)) {
		return s, bad
	}
	var h header
	if err := json.Unmarshal(data[:n], &h); err != nil {
		return s, fmt.Errorf("decode the state: %w", err)
	}
	data = data[n:]
	s = Snapshot{Step: h.Step, Meta: h.Meta, Parts: map[string]*safetensors.File{}}
	for _, p := range h.Parts {
		if p.Size < 0 || p.Size > len(data) {
			return s, bad
		}
		if s.Parts[p.Name], err = safetensors.Decode(data[:p.Size]); err != nil {
			return s, fmt.Errorf("decode part %q of the state: %w", p.Name, err)
		}
		data = data[p.Size:]
	}
	if len(data) > 0 {
		return s, fmt.Errorf("decode the state: %d bytes follow it", len(data))
	}
	return s, nil
}

// Fingerprint is a checksum of what the next step computes with: weights, running statistics, prior, and the step
// itself. Replicas compare it. It tells any single flipped bit, and other differences but for one in 2^32.
func (s *State) Fingerprint() uint64 {
	weights := crc32.Update(0, castagnoli, bytesOf(s.Model.Params))
	rest := crc32.Update(uint32(s.Step), castagnoli, bytesOf(s.Model.Buffers))
	for _, p := range s.Loss.Priors {
		rest = crc32.Update(rest, castagnoli, bytesOf(p.M))
		rest = crc32.Update(rest, castagnoli, bytesOf(p.D))
	}
	return uint64(weights)<<32 | uint64(rest)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bytesOf is the memory of v. All workers of a run have the same kernels, and so the same order of bytes.
func bytesOf[T float32 | float64](v []T) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*int(unsafe.Sizeof(v[0])))
}
