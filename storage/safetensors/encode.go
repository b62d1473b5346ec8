package safetensors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Encode returns the file's bytes, the same for the same tensors and metadata. A tensor whose shape does not fit its
// data, an unknown dtype, a name that comes twice, and text that is not UTF-8 are errors.
func (f *File) Encode() ([]byte, error) {
	header, order, size, err := f.header()
	if err != nil {
		return nil, fmt.Errorf("encode safetensors: %w", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, 8+len(header)+size))
	f.write(out, header, order)
	return out.Bytes(), nil
}

// Digest is the SHA-256, in hex, of the bytes of files one after the other, each without its metadata: a file has the same
// whatever it says of itself. Files that Decode has read give what they gave before they were encoded.
func Digest(files ...*File) (string, error) {
	h := sha256.New()
	for _, f := range files {
		bare := File{Tensors: f.Tensors}
		header, order, _, err := bare.header()
		if err != nil {
			return "", fmt.Errorf("digest of safetensors: %w", err)
		}
		bare.write(h, header, order)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// write gives the file's bytes to what cannot fail.
func (f *File) write(w io.Writer, header []byte, order []int) {
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(header)))
	w.Write(length[:])
	w.Write(header)
	for _, i := range order {
		w.Write(f.Tensors[i].Data)
	}
}

// header returns the padded header, the order in which the tensors' data follow, and their bytes.
func (f *File) header() (header []byte, order []int, size int, err error) {
	seen := make(map[string]bool, len(f.Tensors))
	for _, t := range f.Tensors {
		if err := t.check(); err != nil {
			return nil, nil, 0, err
		}
		if seen[t.Name] {
			return nil, nil, 0, fmt.Errorf("tensor %q comes twice", t.Name)
		}
		seen[t.Name] = true
	}
	order, begins, size := f.layout()
	var b bytes.Buffer
	b.WriteByte('{')
	if len(f.Metadata) > 0 {
		if err := writeMetadata(&b, f.Metadata); err != nil {
			return nil, nil, 0, err
		}
	}
	for i, t := range f.Tensors {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		writeText(&b, t.Name)
		b.WriteString(`:{"dtype":"` + string(t.DType) + `","shape":`)
		writeNumbers(&b, t.Shape)
		b.WriteString(`,"data_offsets":`)
		writeNumbers(&b, []int{begins[i], begins[i] + len(t.Data)})
		b.WriteByte('}')
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if b.Len() > MaxHeader {
		return nil, nil, 0, fmt.Errorf("header of %d bytes, the limit is %d", b.Len(), MaxHeader)
	}
	return b.Bytes(), order, size, nil
}

// layout places wide elements before narrow ones, each kind in the given order.
func (f *File) layout() (order, begins []int, size int) {
	begins = make([]int, len(f.Tensors))
	for _, width := range []int{8, 4, 2, 1} {
		for i, t := range f.Tensors {
			if t.DType.Size() == width {
				order = append(order, i)
				begins[i] = size
				size += len(t.Data)
			}
		}
	}
	return order, begins, size
}

func writeMetadata(b *bytes.Buffer, metadata map[string]string) error {
	writeText(b, metadataKey)
	b.WriteString(":{")
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
			return errors.New("metadata is not valid UTF-8")
		}
		if i > 0 {
			b.WriteByte(',')
		}
		writeText(b, key)
		b.WriteByte(':')
		writeText(b, metadata[key])
	}
	b.WriteByte('}')
	return nil
}

// writeText appends a JSON string. A string that is valid UTF-8, as all here are, always has one.
func writeText(b *bytes.Buffer, s string) {
	text, _ := json.Marshal(s)
	b.Write(text)
}

func writeNumbers(b *bytes.Buffer, v []int) {
	b.WriteByte('[')
	for i, n := range v {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(n))
	}
	b.WriteByte(']')
}
