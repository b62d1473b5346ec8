package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Decode reads a whole file. The tensors' data alias the argument, which must not change while they are used.
// Anything that the format does not allow is an error that wraps ErrFormat and names the tensor.
func Decode(data []byte) (*File, error) {
	f, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return f, nil
}

func decode(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes, shorter than the length of the header", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > MaxHeader {
		return nil, fmt.Errorf("header of %d bytes, the limit is %d", n, MaxHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("header of %d bytes, but only %d follow: the file is cut off", n, len(data)-8)
	}
	header, body := data[8:8+n], data[8+n:]
	if len(header) == 0 || header[0] != '{' {
		return nil, errors.New("the header does not begin with '{'")
	}
	if !utf8.Valid(header) {
		return nil, errors.New("the header is not valid UTF-8")
	}
	p := parser{json.NewDecoder(bytes.NewReader(header))}
	p.UseNumber()
	entries, metadata, err := p.header()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := covers(entries, len(body)); err != nil {
		return nil, err
	}
	f := &File{Tensors: make([]Tensor, len(entries)), Metadata: metadata}
	for i, e := range entries {
		e.Data = body[e.begin:e.end:e.end]
		if err := e.check(); err != nil {
			return nil, err
		}
		f.Tensors[i] = e.Tensor
	}
	return f, nil
}

// entry is a tensor of the header with its place in the data.
type entry struct {
	Tensor
	begin, end int
}

// covers checks that the entries cover size bytes exactly, so that each begin and end can be used as an index.
func covers(entries []entry, size int) error {
	sorted := slices.SortedStableFunc(slices.Values(entries), func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := 0
	for _, e := range sorted {
		switch {
		case e.begin != at:
			return fmt.Errorf("tensor %q begins at %d where %d is expected: data overlap or leave a gap", e.Name, e.begin, at)
		case e.end < e.begin:
			return fmt.Errorf("tensor %q: data_offsets [%d, %d] run backwards", e.Name, e.begin, e.end)
		case e.end > size:
			return fmt.Errorf("tensor %q ends at %d, but there are only %d bytes of data: the file is cut off",
				e.Name, e.end, size)
		}
		at = e.end
	}
	if at != size {
		return fmt.Errorf("%d bytes of data, but the tensors end at %d", size, at)
	}
	return nil
}

// parser reads the header token by token: encoding/json would let duplicate and misspelt keys pass.
type parser struct{ *json.Decoder }

func (p parser) header() ([]entry, map[string]string, error) {
	var entries []entry
	var metadata map[string]string
	err := p.object(func(key string) error {
		if key == metadataKey {
			metadata = map[string]string{}
			return p.object(func(key string) error {
				value, err := p.text()
				metadata[key] = value
				return err
			})
		}
		e, err := p.entry(key)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := p.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows the closing '}'")
	}
	return entries, metadata, nil
}

func (p parser) entry(name string) (entry, error) {
	e := entry{Tensor: Tensor{Name: name}, begin: -1}
	var offsets []int
	fields := 0
	err := p.object(func(key string) (err error) {
		fields++
		switch key {
		case "dtype":
			var s string
			s, err = p.text()
			e.DType = DType(s)
		case "shape":
			e.Shape, err = p.numbers()
		case "data_offsets":
			offsets, err = p.numbers()
		default:
			err = errors.New("unknown key")
		}
		return err
	})
	if err != nil {
		return e, err
	}
	if fields != 3 {
		return e, errors.New("dtype, shape and data_offsets are required")
	}
	if len(offsets) != 2 {
		return e, fmt.Errorf("data_offsets has %d numbers, it must have 2", len(offsets))
	}
	e.begin, e.end = offsets[0], offsets[1]
	return e, nil
}

// object reads {"key": ..., ...}; value reads what follows a key. A key that comes twice is an error.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.More() {
		key, err := p.text()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("%q comes twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	return p.delim('}')
}

// numbers reads an array of integers of 0 and more. The result is never nil.
func (p parser) numbers() ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	out := []int{}
	for p.More() {
		token, err := p.Token()
		if err != nil {
			return nil, err
		}
		number, ok := token.(json.Number)
		if !ok {
			return nil, fmt.Errorf("%v is not a number", token)
		}
		n, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil || n > math.MaxInt {
			return nil, fmt.Errorf("%s is not an integer from 0 to %d", number, math.MaxInt)
		}
		out = append(out, int(n))
	}
	return out, p.delim(']')
}

func (p parser) text() (string, error) {
	token, err := p.Token()
	if err != nil {
		return "", err
	}
	s, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%v is not a string", token)
	}
	return s, nil
}

func (p parser) delim(want json.Delim) error {
	token, err := p.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("%v where %v is expected", token, want)
	}
	return nil
}
