package safetensors_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pupil/storage"
	"pupil/storage/mem"
	"pupil/storage/safetensors"
)

// file lays a header before data, unpadded.
func file(header string, data ...byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func sample() *safetensors.File {
	return &safetensors.File{
		Tensors: []safetensors.Tensor{
			safetensors.FromFloat32("conv1.weight", []int{1, 3}, []float32{1, -2, 0.5}),
			safetensors.FromInt64("bn1.num_batches_tracked", nil, []int64{-7}),
			{Name: "mask \"x\" <é>", DType: safetensors.U8, Shape: []int{3}, Data: []byte{1, 2, 255}},
			safetensors.FromFloat64("prior/m", []int{2, 1}, []float64{math.Pi, math.Inf(-1)}),
			{Name: "none", DType: safetensors.F32, Shape: []int{0, 5}, Data: nil},
		},
		Metadata: map[string]string{"format": "pt", "a": "line\nbreak"},
	}
}

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]*safetensors.File{
		"all kinds": sample(), "empty": {}, "metadata only": {Metadata: map[string]string{"a": "b"}},
	} {
		data, err := f.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := safetensors.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !got.Equal(f) {
			t.Errorf("%s: decoded %v, want %v", name, got, f)
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: encoded again it has other bytes (%v)", name, err)
		}
	}
}

// TestDigest: it is the SHA-256 of the files' bytes, whatever their metadata say, and also of what was read.
func TestDigest(t *testing.T) {
	bare, second := sample(), &safetensors.File{Tensors: sample().Tensors[3:]}
	bare.Metadata = nil
	h := sha256.New()
	for _, f := range []*safetensors.File{bare, second} {
		data, err := f.Encode()
		if err != nil {
			t.Fatal(err)
		}
		h.Write(data)
	}
	want := hex.EncodeToString(h.Sum(nil))
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := safetensors.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*safetensors.File{"without metadata": bare, "with": sample(), "read": read} {
		if got, err := safetensors.Digest(f, second); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, want)
		}
	}
	if got, err := safetensors.Digest(second, bare); err != nil || got == want {
		t.Errorf("in another order: %s, %v", got, err)
	}
	if _, err := safetensors.Digest(&safetensors.File{Tensors: []safetensors.Tensor{{Name: "x", DType: "F1"}}}); err == nil {
		t.Error("a tensor of no known type has a digest")
	}
}

// TestLayout checks what other readers need: a padded header and every tensor aligned to its element.
func TestLayout(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(data)
	if n%8 != 0 || data[8] != '{' {
		t.Errorf("header of %d bytes that begins with %q, want a multiple of 8 and {", n, data[8])
	}
	var header map[string]struct {
		DType   safetensors.DType `json:"dtype"`
		Offsets [2]int            `json:"data_offsets"`
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &raw); err != nil {
		t.Fatal(err)
	}
	delete(raw, "__metadata__")
	rest, _ := json.Marshal(raw)
	if err := json.Unmarshal(rest, &header); err != nil || len(header) != 5 {
		t.Fatalf("%d tensors in the header, %v", len(header), err)
	}
	for name, e := range header {
		if e.Offsets[0]%e.DType.Size() != 0 {
			t.Errorf("tensor %q of %s begins at %d: not aligned", name, e.DType, e.Offsets[0])
		}
	}
	if !strings.HasPrefix(string(data[8:]), `{"__metadata__":{"a":"line\nbreak","format":"pt"},"conv1.weight":{`+
		`"dtype":"F32","shape":[1,3],"data_offsets":[24,36]},`) {
		t.Errorf("header is %s", data[8:8+n])
	}
}

// TestDecodeOthersFiles reads files as other writers lay them out: data in any order, white space, no padding.
func TestDecodeOthersFiles(t *testing.T) {
	f, err := safetensors.Decode(file(
		`{"b":{"shape":[2],"data_offsets":[4,6],"dtype":"U8"},`+
			"\n "+`"a" : {"dtype":"F32","shape":[],"data_offsets":[0,4]} }  `,
		0, 0, 0x80, 0x3f, 7, 8))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tensors) != 2 || f.Tensors[0].Name != "b" || f.Tensors[1].Name != "a" {
		t.Fatalf("tensors %v, want b and a, in the header's order", f.Tensors)
	}
	if a, ok := f.Lookup("a"); !ok || len(a.Shape) != 0 || !bytes.Equal(a.Data, []byte{0, 0, 0x80, 0x3f}) {
		t.Errorf("a = %v, %t", a, ok)
	}
	if _, ok := f.Lookup("c"); ok {
		t.Error("Lookup found a tensor that is not there")
	}
}

func TestDecodeRefuses(t *testing.T) {
	one := func(begin, end string) string {
		return `"x":{"dtype":"U8","shape":[2],"data_offsets":[` + begin + `,` + end + `]}`
	}
	const scalar = `{"dtype":"U8","shape":[],"data_offsets":[0,1]}`
	shaped := func(dtype, shape string, data ...byte) []byte {
		return file(`{"x":{"dtype":"`+dtype+`","shape":`+shape+`,"data_offsets":[0,`+strconv.Itoa(len(data))+`]}}`, data...)
	}
	two := func(second string, data ...byte) []byte {
		return file("{"+one("0", "2")+`,"y":{"dtype":"U8",`+second+`}}`, data...)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":             {nil, "shorter"},
		"seven bytes":         {make([]byte, 7), "shorter"},
		"oversized header":    {binary.LittleEndian.AppendUint64(nil, safetensors.MaxHeader+1), "limit"},
		"huge header":         {bytes.Repeat([]byte{255}, 100), "limit"},
		"cut header":          {file("{}    ")[:12], "cut off"},
		"empty header":        {file(""), "begin with '{'"},
		"leading space":       {file(" {}"), "begin with '{'"},
		"no JSON":             {file("{x}"), "invalid character"},
		"list":                {file("[]"), "begin with '{'"},
		"unclosed":            {file(`{"x":`), "EOF"},
		"two objects":         {file("{}{}"), "follows"},
		"text after":          {file("{} x"), "follows"},
		"not UTF-8":           {file("{\"\xff\":1}"), "UTF-8"},
		"tensor no object":    {file(`{"x":[]}`), `"x"`},
		"unknown key":         {file(`{"x":{"dtype":"U8","shape":[],"data_offsets":[0,1],"more":1}}`, 1), "unknown key"},
		"missing dtype":       {file(`{"x":{"shape":[],"data_offsets":[0,1]}}`, 1), "required"},
		"missing shape":       {file(`{"x":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "required"},
		"missing offsets":     {file(`{"x":{"dtype":"U8","shape":[]}}`), "required"},
		"three offsets":       {file(`{"x":{"dtype":"U8","shape":[],"data_offsets":[0,1,1]}}`, 1), "must have 2"},
		"unknown dtype":       {shaped("X9", "[]", 1), "X9"},
		"dtype no text":       {file(`{"x":{"dtype":1,"shape":[],"data_offsets":[0,1]}}`, 1), "not a string"},
		"negative dimension":  {shaped("U8", "[-1]", 1), "-1"},
		"fractional":          {shaped("U8", "[1.0]", 1), "1.0"},
		"exponent":            {shaped("U8", "[1e0]", 1), "1e0"},
		"2^64":                {shaped("U8", "[18446744073709551616]", 1), "integer"},
		"overflowing shape":   {shaped("U8", "[4294967296,4294967296]", 1), "addressed"},
		"overflowing bytes":   {shaped("F64", "[2305843009213693952]"), "does not fit"},
		"nested dimension":    {shaped("U8", "[[1]]", 1), "not a number"},
		"shape and data":      {file("{"+one("0", "3")+"}", 1, 2, 3), "does not fit"},
		"out of bounds":       {file("{"+one("0", "2")+"}", 1), "cut off"},
		"far out of bounds":   {file("{"+one("9223372036854775806", "9223372036854775807")+"}", 1), "gap"},
		"backwards":           {two(`"shape":[],"data_offsets":[2,1]`, 1, 2), "backwards"},
		"gap at the start":    {file("{"+one("1", "3")+"}", 1, 2, 3), "gap"},
		"left over":           {file("{"+one("0", "2")+"}", 1, 2, 3), "3 bytes of data"},
		"data without tensor": {file("{}", 1), "1 bytes of data"},
		"overlap":             {two(`"shape":[2],"data_offsets":[1,3]`, 1, 2, 3), "overlap"},
		"the same bytes":      {two(`"shape":[2],"data_offsets":[0,2]`, 1, 2), "overlap"},
		"duplicate":           {file("{"+one("0", "2")+","+one("2", "4")+"}", 1, 2, 3, 4), "twice"},
		"duplicate, escaped":  {file(`{"x":`+scalar+`,"\u0078":`+scalar+`}`, 1), "twice"},
		"duplicate key":       {file(`{"x":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1), "twice"},
		"metadata no text":    {file(`{"__metadata__":{"a":1}}`), "not a string"},
		"metadata twice":      {file(`{"__metadata__":{},"__metadata__":{}}`), "twice"},
	} {
		f, err := safetensors.Decode(tt.data)
		if !errors.Is(err, safetensors.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v; want ErrFormat with %q", name, f, err, tt.want)
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	data, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if _, err := safetensors.Decode(data[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode", n, len(data))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	good := safetensors.FromInt64("x", nil, []int64{1})
	for want, f := range map[string]*safetensors.File{
		"twice":      {Tensors: []safetensors.Tensor{good, good}},
		"reserved":   {Tensors: []safetensors.Tensor{safetensors.FromInt64("__metadata__", nil, []int64{1})}},
		"UTF-8":      {Tensors: []safetensors.Tensor{safetensors.FromInt64("\xff", nil, []int64{1})}},
		"fit":        {Tensors: []safetensors.Tensor{safetensors.FromFloat32("x", []int{2}, []float32{1})}},
		"negative":   {Tensors: []safetensors.Tensor{safetensors.FromFloat32("x", []int{-1}, nil)}},
		"dtype":      {Tensors: []safetensors.Tensor{{Name: "x", DType: "F8", Shape: nil, Data: []byte{1}}}},
		"valid UTF-": {Metadata: map[string]string{"a": "\xff"}},
	} {
		if _, err := f.Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Encode = %v, want an error with %q", err, want)
		}
	}
}

func TestFloats(t *testing.T) {
	floats := []float32{
		0, float32(math.Copysign(0, -1)), 1, -2.5, math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Inf(1)),
	}
	same := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
	got, err := safetensors.FromFloat32("x", []int{7}, floats).Float32()
	if err != nil || !slices.EqualFunc(got, floats, same) {
		t.Errorf("float32 %v, %v; want %v", got, err, floats)
	}
	doubles, err := safetensors.FromFloat64("x", []int{1, 2}, []float64{0.1, math.Inf(-1)}).Float64()
	if err != nil || doubles[0] != 0.1 || !math.IsInf(doubles[1], -1) {
		t.Errorf("float64 %v, %v", doubles, err)
	}
	if got, err := safetensors.FromFloat64("x", nil, []float64{0.1}).Float32(); err != nil || got[0] != 0.1 {
		t.Errorf("float64 as float32 %v, %v", got, err)
	}
	bf16 := safetensors.Tensor{
		Name: "x", DType: safetensors.BF16, Shape: []int{3}, Data: []byte{0x80, 0x3f, 0x20, 0xc0, 0x80, 0x7f},
	}
	if got, err := bf16.Float64(); err != nil || !slices.Equal(got, []float64{1, -2.5, math.Inf(1)}) {
		t.Errorf("bfloat16 %v, %v", got, err)
	}
	_, err = safetensors.FromInt64("x", nil, []int64{1}).Float32()
	if err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("integers as floats: %v, want an error that names the type", err)
	}
}

// TestHalf checks all 65,536 half-precision numbers against the definition: (-1)^s 2^(e-15) (1 + f/1024), and for e = 0
// (-1)^s 2^-14 f/1024.
func TestHalf(t *testing.T) {
	data := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(data[2*i:], uint16(i))
	}
	got, err := safetensors.Tensor{Name: "x", DType: safetensors.F16, Shape: []int{1 << 16}, Data: data}.Float64()
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range got {
		e, f := i>>10&31, float64(i&1023)/1024
		want := math.Ldexp(1+f, e-15)
		switch {
		case e == 0:
			want = math.Ldexp(f, -14)
		case e == 31 && f == 0:
			want = math.Inf(1)
		case e == 31:
			want = math.NaN()
		}
		if i>>15 == 1 {
			want = -want
		}
		if math.Float64bits(x) != math.Float64bits(want) && !(math.IsNaN(x) && math.IsNaN(want)) {
			t.Fatalf("half %#04x = %v, want %v", i, x, want)
		}
	}
}

func TestIntegers(t *testing.T) {
	for dtype, want := range map[safetensors.DType]int64{
		safetensors.I64: -2, safetensors.I32: -2, safetensors.I16: -2, safetensors.I8: -2,
		safetensors.U32: math.MaxUint32 - 1, safetensors.U16: math.MaxUint16 - 1, safetensors.U8: math.MaxUint8 - 1,
	} {
		data := append([]byte{0xfe}, bytes.Repeat([]byte{0xff}, dtype.Size()-1)...)
		x := safetensors.Tensor{Name: "x", DType: dtype, Shape: []int{1}, Data: data}
		if got, err := x.Int64(); err != nil || got[0] != want {
			t.Errorf("%s: %v, %v; want %d", dtype, got, err, want)
		}
	}
	large := safetensors.Tensor{Name: "big", DType: safetensors.U64, Data: bytes.Repeat([]byte{255}, 8)}
	if _, err := large.Int64(); err == nil || !strings.Contains(err.Error(), "big") {
		t.Errorf("2^64-1 as int64: %v, want an error that names the tensor", err)
	}
	if _, err := safetensors.FromFloat32("x", nil, []float32{1}).Int64(); err == nil {
		t.Error("floats as integers gave no error")
	}
}

func TestBucket(t *testing.T) {
	b := mem.New()
	if err := safetensors.Put(t.Context(), b, "m.safetensors", sample()); err != nil {
		t.Fatal(err)
	}
	if f, err := safetensors.Get(t.Context(), b, "m.safetensors"); err != nil || !f.Equal(sample()) {
		t.Errorf("Get = %v, %v", f, err)
	}
	if _, err := safetensors.Get(t.Context(), b, "none"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get of a missing key = %v", err)
	}
	if err := storage.WriteAll(t.Context(), b, "bad", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := safetensors.Get(t.Context(), b, "bad"); err == nil || !strings.Contains(err.Error(), "mem:/bad") {
		t.Errorf("Get of a bad file = %v, want an error that names it", err)
	}
}

// FuzzDecode checks that what decodes is consistent, and encodes to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	data, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(file(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},`+
		`"y":{"dtype":"BOOL","shape":[],"data_offsets":[2,3]}}`, 1, 2, 3))
	f.Add(file(`{"x":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]}} `))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := safetensors.Decode(data)
		if err != nil {
			return
		}
		for _, x := range got.Tensors {
			if n, err := x.Len(); err != nil || n*x.DType.Size() != len(x.Data) {
				t.Fatalf("tensor %q: shape %v, %s, %d bytes (%v)", x.Name, x.Shape, x.DType, len(x.Data), err)
			}
		}
		out, err := got.Encode()
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		again, err := safetensors.Decode(out)
		if err != nil || !again.Equal(got) {
			t.Fatalf("decoded, encoded, decoded: %v, %v; want %v", again, err, got)
		}
	})
}

func Example() {
	f := &safetensors.File{Tensors: []safetensors.Tensor{
		safetensors.FromFloat32("fc.weight", []int{2, 2}, []float32{1, 2, 3, 4}),
	}}
	data, err := f.Encode()
	if err != nil {
		fmt.Println(err)
	}
	read, err := safetensors.Decode(data)
	if err != nil {
		fmt.Println(err)
	}
	weight, _ := read.Lookup("fc.weight")
	values, err := weight.Float32()
	fmt.Println(weight.Shape, values, err)
	// Output: [2 2] [1 2 3 4] <nil>
}
