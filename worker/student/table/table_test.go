package table_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pupil/worker/student/table"
)

var rows = []table.Row{
	{Name: "a, \"b\".png", Class: "c", Values: []float32{1, -0.1, 3e-45}},
	{Name: "é<>.jpg", Values: []float32{math.MaxFloat32, 0, 1.0 / 3}},
}

func write(t *testing.T, f table.Format) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w, err := table.New(&b, f, 3)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, w)
	return &b
}

func fill(t *testing.T, w *table.Writer) {
	t.Helper()
	for _, r := range rows {
		if err := w.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Row(table.Row{Name: "short", Values: []float32{1}}); err == nil {
		t.Error("a row of another width was accepted")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Rows() != len(rows) {
		t.Errorf("%d rows", w.Rows())
	}
}

// Values come back to the bit.
func TestText(t *testing.T) {
	d := json.NewDecoder(write(t, table.JSONL))
	for _, want := range rows {
		var got table.Row
		if err := d.Decode(&got); err != nil || got.Name != want.Name || got.Class != want.Class || !slices.Equal(got.Values, want.Values) {
			t.Errorf("JSON lines: got %+v, want %+v (%v)", got, want, err)
		}
	}
	records, err := csv.NewReader(write(t, table.CSV)).ReadAll()
	if err != nil || len(records) != 3 || strings.Join(records[0], ",") != "name,class,f0,f1,f2" {
		t.Fatalf("CSV: %q, %v", records, err)
	}
	for i, want := range rows {
		got := records[i+1]
		if got[0] != want.Name || got[1] != want.Class {
			t.Errorf("CSV: %q", got)
		}
		for j, v := range want.Values {
			if x, err := strconv.ParseFloat(got[2+j], 32); err != nil || float32(x) != v {
				t.Errorf("CSV: %q, want %v", got[2+j], v)
			}
		}
	}
}

func TestNPY(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x.npy"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := table.New(f, table.NPY, 3)
	if err != nil {
		t.Fatal(err)
	}
	var names bytes.Buffer
	w.Names(&names)
	fill(t, w)
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	// NEP 1: magic, version 1.0, length of the header, a multiple of 64 in all, a dictionary that ends in a line break.
	if string(data[:8]) != "\x93NUMPY\x01\x00" || binary.LittleEndian.Uint16(data[8:]) != 118 || data[127] != '\n' {
		t.Errorf("header %q", data[:128])
	}
	if dict := strings.TrimSpace(string(data[10:128])); dict != "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }" {
		t.Errorf("header %q", dict)
	}
	for i, r := range rows {
		for j, v := range r.Values {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(data[128+4*(3*i+j):])); got != v {
				t.Errorf("row %d: %v, want %v", i, got, v)
			}
		}
	}
	if len(data) != 128+24 || names.String() != rows[0].Name+"\n"+rows[1].Name+"\n" {
		t.Errorf("%d bytes, names %q", len(data), names.String())
	}
	if err := w.Row(table.Row{Name: "two\nlines", Values: rows[0].Values}); err == nil {
		t.Error("a name of two lines was accepted")
	}
}

func TestRefuses(t *testing.T) {
	if _, err := table.New(&bytes.Buffer{}, table.NPY, 3); err == nil {
		t.Error("an .npy on a stream")
	}
	if _, err := table.New(&bytes.Buffer{}, "xls", 3); err == nil {
		t.Error("a format that is not known")
	}
	if f, err := table.FormatOf("x.txt"); err == nil {
		t.Errorf("x.txt is %s", f)
	}
	for _, f := range table.Formats() {
		if got, err := table.FormatOf("x.y." + f); err != nil || string(got) != f {
			t.Errorf("%s: %v, %v", f, got, err)
		}
	}
}

func ExampleWriter() {
	w, err := table.New(os.Stdout, table.JSONL, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = w.Row(table.Row{Name: "cat.jpg", Class: "cat", Values: []float32{0.5, 2}})
	fmt.Println(err, w.Close())
	// Output:
	// {"name":"cat.jpg","class":"cat","features":[0.5,2]}
	// <nil> <nil>
}
