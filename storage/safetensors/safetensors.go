package safetensors

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// ErrFormat says that bytes are not a safetensors file. Every error of Decode wraps it.
var ErrFormat = errors.New("not a valid safetensors file")

// MaxHeader is the format's limit on the length of the header, in bytes.
const MaxHeader = 100_000_000

// metadataKey is the header's entry that is no tensor.
const metadataKey = "__metadata__"

// DType is the type of a tensor's elements, by the format's names.
type DType string

// The element types that the package knows. F32, F64, F16 and BF16 convert to floats, BOOL and the others to integers.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	Bool DType = "BOOL"
)

// Size returns the bytes of one element, or 0 for a type that the package does not know.
func (d DType) Size() int {
	switch d {
	case F64, I64, U64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, Bool:
		return 1
	}
	return 0
}

// Tensor is a named array.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // empty for a scalar, which has one element
	Data  []byte // the elements, row-major, little-endian; len is the product of Shape times DType.Size
}

// Len returns the number of elements: the product of the shape, 1 for a scalar. A shape that has a negative dimension,
// or more elements than an int can count, is an error.
func (t Tensor) Len() (int, error) {
	n := 1
	for _, d := range t.Shape {
		if d < 0 {
			return 0, fmt.Errorf("tensor %q: shape %v has a negative dimension", t.Name, t.Shape)
		}
		if d > 0 && n > math.MaxInt/d {
			return 0, fmt.Errorf("tensor %q: shape %v has more elements than can be addressed", t.Name, t.Shape)
		}
		n *= d
	}
	return n, nil
}

// check reports a tensor whose parts do not fit together.
func (t Tensor) check() error {
	if !utf8.ValidString(t.Name) {
		return fmt.Errorf("tensor %q: the name is not valid UTF-8", t.Name)
	}
	if t.Name == metadataKey {
		return fmt.Errorf("tensor %q: the name is reserved by the format", t.Name)
	}
	size := t.DType.Size()
	if size == 0 {
		return fmt.Errorf("tensor %q: unknown dtype %q", t.Name, t.DType)
	}
	n, err := t.Len()
	if err != nil {
		return err
	}
	if n > math.MaxInt/size || n*size != len(t.Data) {
		return fmt.Errorf("tensor %q: shape %v of %s does not fit its %d bytes of data",
			t.Name, t.Shape, t.DType, len(t.Data))
	}
	return nil
}

// File is the content of a safetensors file.
type File struct {
	Tensors  []Tensor          // in the order of the header
	Metadata map[string]string // nil when the file has none
}

// Lookup returns the tensor of that name. The data is shared with the File.
func (f *File) Lookup(name string) (Tensor, bool) {
	i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		return Tensor{}, false
	}
	return f.Tensors[i], true
}

// Equal tells whether two files hold the same tensors in the same order, and the same metadata.
func (f *File) Equal(g *File) bool {
	if len(f.Metadata) != len(g.Metadata) {
		return false
	}
	for k, v := range f.Metadata {
		if w, ok := g.Metadata[k]; !ok || v != w {
			return false
		}
	}
	return slices.EqualFunc(f.Tensors, g.Tensors, func(a, b Tensor) bool {
		return a.Name == b.Name && a.DType == b.DType && slices.Equal(a.Shape, b.Shape) && slices.Equal(a.Data, b.Data)
	})
}
