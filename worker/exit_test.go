package main

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
)

// exits runs a command as the program does, and returns its exit code and messages.
func exits(t testing.TB, args ...string) (code int, messages string) {
	t.Helper()
	root := &cobra.Command{Use: "worker"}
	root.AddCommand(commands()...)
	root.SetArgs(args)
	root.SetOut(io.Discard)
	var text bytes.Buffer
	root.SetErr(&text)
	return config.Execute(t.Context(), root, nil), text.String()
}

// enormous is a PNG that claims to have 30,000 x 30,000 pixels.
func enormous() []byte {
	head := append([]byte("IHDR"), 0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(head))
}

// What is wrong use, by flags or by the files that they name, ends with 2; what fails on the way, with 1.
func TestExitCodes(t *testing.T) {
	var point bytes.Buffer
	if err := png.Encode(&point, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	files := album(t, map[string][]byte{
		"text.png": []byte("no image"), "cut.png": square(t, 1)[:60], "point.png": point.Bytes(), "huge.png": enormous(),
		"good.png": square(t, 2), "empty/.keep": nil,
	})
	file := func(name string) string { return filepath.Join(files, name) }
	model, pictures, people := copied(t), corners(t), filepath.Join(t.TempDir(), "people")
	for _, args := range [][]string{
		{"extract", teacher, file("point.png")},
		{"fit-head", model, pictures},
		{"enroll", model, pictures, "--gallery", people},
		{"classify", model, file("point.png")},
		{"identify", model, file("good.png"), "--gallery", people},
	} {
		if code, messages := exits(t, args...); code != config.ExitDone {
			t.Errorf("%q: exit code %d, %s", args, code, messages)
		}
	}

	nan, other := copied(t), copied(t)
	weights, err := safetensors.Decode(read(t, filepath.Join(nan, nn.WeightsFile)))
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(weights.Tensors[0].Data, math.Float32bits(float32(math.NaN())))
	broken, err := weights.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := student.Open(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := gallery.New(m.Digest, 128).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		filepath.Join(nan, nn.WeightsFile):        broken,
		filepath.Join(other, nn.ConfigFile):       append(read(t, filepath.Join(other, nn.ConfigFile)), '\n'),
		filepath.Join(other, student.HeadFile):    read(t, filepath.Join(model, student.HeadFile)),
		file("empty.gallery"):                     empty,
		filepath.Join(files, "empty", "notes.md"): nil,
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		code int
		args []string
	}{
		{config.ExitFailed, []string{"extract", teacher, file("text.png")}},
		{config.ExitFailed, []string{"classify", teacher, file("cut.png")}},
		{config.ExitFailed, []string{"identify", model, file("huge.png"), "--gallery", people}},
		{config.ExitUsage, []string{"extract", teacher, file("missing.png")}},
		{config.ExitUsage, []string{"extract", teacher, file("empty")}},
		{config.ExitUsage, []string{"extract", file("empty"), file("good.png")}},
		{config.ExitUsage, []string{"inspect", file("empty")}},
		{config.ExitUsage, []string{"eval", file("empty")}},
		{config.ExitUsage, []string{"eval", file("empty"), "--train", pictures, "--test", pictures}},
		{config.ExitUsage, []string{"export", file("empty"), "--out", file("x.onnx")}},
		{config.ExitUsage, []string{"serve", file("empty")}},
		{config.ExitUsage, []string{"extract", nan, file("good.png")}},
		{config.ExitUsage, []string{"serve", nan}},
		{config.ExitUsage, []string{"classify", other, file("good.png")}},
		{config.ExitUsage, []string{"export", other, "--out", file("x.onnx")}},
		{config.ExitUsage, []string{"serve", other}},
		{config.ExitUsage, []string{"classify", model, file("good.png"), "--head", file("text.png")}},
		{config.ExitUsage, []string{"identify", other, file("good.png"), "--gallery", people}},
		{config.ExitUsage, []string{"enroll", other, pictures, "--gallery", people}},
		{config.ExitUsage, []string{"identify", model, file("good.png"), "--gallery", file("empty.gallery")}},
		{config.ExitUsage, []string{"identify", model, file("good.png"), "--gallery", file("text.png")}},
		{config.ExitUsage, []string{"enroll", model, pictures, "--gallery", file("text.png")}},
		{config.ExitUsage, []string{"serve", model, "--gallery", file("empty.gallery"), "--head", "none"}},
		{config.ExitUsage, []string{"serve", model, "--gallery", file("text.png")}},
		{config.ExitUsage, []string{"clasify", model}},
	} {
		if code, messages := exits(t, c.args...); code != c.code || messages == "" {
			t.Errorf("%q: exit code %d, want %d: %s", c.args, code, c.code, messages)
		}
	}
}
