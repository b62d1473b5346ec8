// Package table writes rows of features to files that other programs read: NumPy's .npy with a file of names beside it,
// JSON lines, and CSV.
//
//	w, err := table.New(f, table.CSV, 64)
//	err = w.Row(table.Row{Name: "cat.jpg", Values: features})
//	err = w.Close()
package table

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Format is a kind of file.
type Format string

// The formats.
const (
	NPY   Format = "npy"   // float32 [rows, columns], little-endian, C order; names are not in it
	JSONL Format = "jsonl" // an object a line: name, class where there is one, features
	CSV   Format = "csv"   // a header, then name, class, and a column a feature
)

// Formats lists the formats.
func Formats() []string { return []string{string(NPY), string(JSONL), string(CSV)} }

// FormatOf tells the format by a file's name.
func FormatOf(name string) (Format, error) {
	for _, f := range Formats() {
		if strings.HasSuffix(name, "."+f) {
			return Format(f), nil
		}
	}
	return "", fmt.Errorf("the name %q does not end in .%s; name a format", name, strings.Join(Formats(), ", ."))
}

// Row is one image.
type Row struct {
	Name   string    `json:"name"`
	Class  string    `json:"class,omitempty"`
	Values []float32 `json:"features"`
}

// Writer writes rows of one width.
type Writer struct {
	format Format
	width  int
	rows   int
	buffer *bufio.Writer
	csv    *csv.Writer
	json   *json.Encoder
	file   io.WriteSeeker // of an .npy, whose header is written last
	names  *bufio.Writer
	fields []string
	bytes  []byte
}

// New begins a table of rows of width values on w. For NPY, w must be an io.WriteSeeker, because the number of rows stands
// at the file's beginning.
func New(w io.Writer, f Format, width int) (*Writer, error) {
	t := &Writer{format: f, width: width, buffer: bufio.NewWriterSize(w, 1<<16)}
	switch f {
	case NPY:
		file, ok := w.(io.WriteSeeker)
		if !ok {
			return nil, errors.New("an .npy file cannot be written to a stream; give a file, or another format")
		}
		t.file = file
		_, err := t.buffer.Write(npyHeader(0, width))
		return t, err
	case JSONL:
		t.json = json.NewEncoder(t.buffer)
		t.json.SetEscapeHTML(false)
		return t, nil
	case CSV:
		t.csv = csv.NewWriter(t.buffer)
		t.fields = []string{"name", "class"}
		for i := range width {
			t.fields = append(t.fields, "f"+strconv.Itoa(i))
		}
		return t, t.csv.Write(t.fields)
	}
	return nil, fmt.Errorf("the format %q is not known; there are %s", f, strings.Join(Formats(), ", "))
}

// Names makes an NPY table write the rows' names to w, one a line.
func (t *Writer) Names(w io.Writer) { t.names = bufio.NewWriter(w) }

// Rows is how many rows there are.
func (t *Writer) Rows() int { return t.rows }

// Row appends a row.
func (t *Writer) Row(r Row) error {
	if len(r.Values) != t.width {
		return fmt.Errorf("%s has %d values; the table has %d columns", r.Name, len(r.Values), t.width)
	}
	t.rows++
	switch t.format {
	case JSONL:
		return t.json.Encode(r)
	case CSV:
		t.fields[0], t.fields[1] = r.Name, r.Class
		for i, v := range r.Values {
			t.fields[2+i] = strconv.FormatFloat(float64(v), 'g', -1, 32)
		}
		return t.csv.Write(t.fields)
	}
	t.bytes = appendFloats(t.bytes[:0], r.Values)
	if _, err := t.buffer.Write(t.bytes); err != nil || t.names == nil {
		return err
	}
	if strings.ContainsAny(r.Name, "\r\n") {
		return fmt.Errorf("the name %q has a line break, and the file of names has a name a line; write JSON lines", r.Name)
	}
	_, err := t.names.WriteString(r.Name + "\n")
	return err
}

// Close writes what is left. It does not close the writers that it was given.
func (t *Writer) Close() error {
	if t.csv != nil {
		t.csv.Flush()
		if err := t.csv.Error(); err != nil {
			return err
		}
	}
	if err := t.buffer.Flush(); err != nil {
		return err
	}
	if t.names != nil {
		if err := t.names.Flush(); err != nil {
			return err
		}
	}
	if t.file == nil {
		return nil
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := t.file.Write(npyHeader(t.rows, t.width))
	return err
}
