package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const (
	teacher = "../deploy/examples/fashion-teacher"
	test    = "../deploy/examples/fashion-mnist/test"
)

// perform runs a command as a user does, with standard input.
func perform(cmd *cobra.Command, stdin []byte, args ...string) (stdout, stderr string, err error) {
	var out, messages bytes.Buffer
	cmd.SetIn(bytes.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&messages)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err = cmd.Execute()
	return out.String(), messages.String(), err
}

// square is a grey PNG with a bright square.
func square(t testing.TB, at int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 28, 28))
	for y := at; y < at+10; y++ {
		for x := at; x < at+10; x++ {
			img.Pix[y*img.Stride+x] = 200
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// album is a folder of images, some of them in classes, by name.
func album(t testing.TB, files map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestExtract(t *testing.T) {
	folder := album(t, map[string][]byte{"up/1.png": square(t, 2), "down/2.png": square(t, 15), "down/3.png": square(t, 9)})
	// Standard output has JSON lines.
	lines, _, err := perform(extractCommand(), nil, teacher, folder)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name, Class string
		Features    []float32
	}
	var rows []row
	for line := range strings.Lines(lines) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if len(rows) != 3 || rows[0].Class != "down" || rows[2].Name != filepath.Join(folder, "up", "1.png") || len(rows[1].Features) != 128 {
		t.Fatalf("rows %.200s", lines)
	}

	// An .npy has the same numbers, whatever batch and threads; scaled to length 1.
	out := filepath.Join(t.TempDir(), "f.npy")
	for _, more := range [][]string{{"--batch", "1"}, {"--batch", "2", "--threads", "3"}} {
		text, _, err := perform(extractCommand(), nil, append([]string{teacher, folder, "--out", out, "--normalize", "--json"}, more...)...)
		if err != nil {
			t.Fatal(err)
		}
		var s extracted
		if err := json.Unmarshal([]byte(text), &s); err != nil || s.Images != 3 || s.Width != 128 || len(s.Student) != 64 {
			t.Errorf("summary %s, %v", text, err)
		}
		data, err := os.ReadFile(out)
		if err != nil || len(data) != 128+3*128*4 {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for i, r := range rows {
			length := 0.0
			for _, v := range r.Features {
				length += float64(v) * float64(v)
			}
			for j, v := range r.Features {
				got := float64(math.Float32frombits(binary.LittleEndian.Uint32(data[128+4*(i*128+j):])))
				if want := float64(v) / math.Sqrt(length); math.Abs(got-want) > 1e-6 {
					t.Fatalf("%v: row %d, feature %d is %v, want %v", more, i, j, got, want)
				}
			}
		}
		names, err := os.ReadFile(strings.TrimSuffix(out, ".npy") + ".names.txt")
		if err != nil || strings.Count(string(names), "\n") != 3 || !strings.HasPrefix(string(names), rows[0].Name+"\n") {
			t.Errorf("names %q, %v", names, err)
		}
	}

	// One image on standard input, logits as CSV.
	csv, _, err := perform(extractCommand(), square(t, 2), teacher, "-", "--output", "logits", "--format", "csv")
	if err != nil || strings.Count(csv, "\n") != 2 || strings.Count(csv, ",") != 2*11 {
		t.Errorf("%q, %v", csv, err)
	}
}

func TestExtractBroken(t *testing.T) {
	folder := album(t, map[string][]byte{"1.png": square(t, 1), "2.png": []byte("no image"), "3.png": square(t, 3)[:60]})
	out := filepath.Join(t.TempDir(), "f.csv")
	if _, _, err := perform(extractCommand(), nil, teacher, folder, "--out", out); err == nil ||
		!strings.Contains(err.Error(), "2.png") || !strings.Contains(err.Error(), "--broken skip") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "*")); err != nil || len(left) > 0 {
		t.Errorf("a failure leaves %v, %v", left, err)
	}
	text, messages, err := perform(extractCommand(), nil, teacher, folder, "--out", out, "--broken", "skip")
	if err != nil || !strings.Contains(text, "1 images, 128 features each; 2 images left out") || strings.Count(messages, "left out: ") != 2 {
		t.Errorf("%q, %q, %v", text, messages, err)
	}
}

func TestExtractRefuses(t *testing.T) {
	folder := t.TempDir()
	for want, args := range map[string][]string{
		"a student's folder":        {teacher},
		"no usable model":           {folder, test},
		"no images below":           {teacher, folder},
		"does not end in .npy":      {teacher, test, "--out", folder + "/x.txt"},
		"standard output":           {teacher, test, "--format", "npy"},
		"the format \"xls\"":        {teacher, test, "--format", "xls"},
		"not to a bucket":           {teacher, test, "--out", "s3://bucket/x.npy"},
		"there is no folder":        {teacher, test, "--out", folder + "/no/x.csv"},
		"--output is \"x\"":         {teacher, test, "--output", "x"},
		"this student has none":     {teacher, test, "--output", "projection"},
		"--batch is 0":              {teacher, test, "--batch", "0"},
		"--threads is 0":            {teacher, test, "--threads", "0"},
		"--broken is \"x\"":         {teacher, test, "--broken", "x"},
		"--json prints":             {teacher, test, "--json"},
		"--names is for .npy":       {teacher, test, "--names", "x"},
		"standard input is empty":   {teacher, "-"},
		"unsupported kind of stora": {"gopher://x", test},
	} {
		if _, _, err := perform(extractCommand(), nil, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", args, err, want)
		}
	}
}

// fails is the error of a command.
func fails(cmd *cobra.Command, args ...string) error {
	_, _, err := perform(cmd, nil, args...)
	return err
}
