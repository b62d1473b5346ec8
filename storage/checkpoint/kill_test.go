package checkpoint_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"pupil/internal/random"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/dir"
	"pupil/storage/safetensors"
)

// saverFolder names the folder in which TestKilled, run by itself, saves until it is killed.
const saverFolder = "PUPIL_TEST_SAVER_FOLDER"

// largeParts are three parts of 32 KB, written in pieces, that depend on the step.
func largeParts(step int) map[string]*safetensors.File {
	out := map[string]*safetensors.File{}
	for i := range 3 {
		values := make([]float32, 8<<10)
		for j := range values {
			values[j] = float32(step + i + j)
		}
		out[fmt.Sprintf("part%d", i)] = &safetensors.File{Tensors: []safetensors.Tensor{
			safetensors.FromFloat32("t", []int{len(values)}, values),
		}}
	}
	return out
}

// telling writes a dot to standard output for whatever its bucket does, and for each piece of a Put.
type telling struct{ *dir.Bucket }

func dot() { fmt.Print(".") }

func (b telling) Put(ctx context.Context, key string, body io.Reader, size int64) error {
	dot()
	defer dot()
	return b.Bucket.Put(ctx, key, pieces{body}, size)
}

func (b telling) Create(ctx context.Context, key string, data []byte) error {
	dot()
	defer dot()
	return b.Bucket.Create(ctx, key, data)
}

func (b telling) Delete(ctx context.Context, key string) error {
	dot()
	defer dot()
	return b.Bucket.Delete(ctx, key)
}

// pieces reads a few bytes at a time.
type pieces struct{ io.Reader }

func (p pieces) Read(to []byte) (int, error) {
	dot()
	return p.Reader.Read(to[:min(len(to), 4096)])
}

// saver saves checkpoints one after the other, prunes, and tells of each that is whole by a line with its step.
func saver(ctx context.Context, folder string) error {
	inside, err := dir.New(folder)
	if err != nil {
		return err
	}
	b := storage.Bucket(telling{inside})
	m, _, err := checkpoint.Latest(ctx, inside)
	if err != nil && !errors.Is(err, checkpoint.ErrNone) {
		return err
	}
	step := 0
	if m != nil {
		step = m.Step
	}
	for {
		step++
		if err := checkpoint.Save(ctx, b, checkpoint.Manifest{Step: step}, largeParts(step)); err != nil {
			return err
		}
		fmt.Printf("\n%d\n", step)
		if err := checkpoint.Retain(ctx, b, 2); err != nil {
			return err
		}
	}
}

// TestKilled kills a process by SIGKILL at random moments of saving and pruning, again and again in one folder: the newest whole
// checkpoint is never older than what the process has told of, and is what was saved.
func TestKilled(t *testing.T) {
	if folder := os.Getenv(saverFolder); folder != "" {
		t.Fatal(saver(t.Context(), folder))
	}
	folder := t.TempDir()
	b, err := dir.New(folder)
	if err != nil {
		t.Fatal(err)
	}
	draws, told := random.New(random.PurposeTest, 9), 0
	for range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), saverFolder+"="+folder)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r, dots := bufio.NewReader(out), 1+draws.IntN(200)
		for err == nil {
			var line string
			if line, err = readUntil(r, &dots); dots == 0 {
				err = cmd.Process.Kill()
				break
			}
			if _, scanErr := fmt.Sscan(line, &told); scanErr != nil && line != "" {
				t.Errorf("the process says %q", line)
			}
		}
		_ = cmd.Wait() // it was killed
		if err != nil {
			t.Fatal(err)
		}
		if told == 0 {
			continue
		}
		m, _, err := checkpoint.Latest(t.Context(), b)
		if err != nil || m.Step < told {
			t.Fatalf("after step %d: %+v, %v", told, m, err)
		}
		_, got, err := checkpoint.Load(t.Context(), b, m.Step)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range largeParts(m.Step) {
			if string(got[name].Tensors[0].Data) != string(want.Tensors[0].Data) {
				t.Errorf("step %d: part %s is another", m.Step, name)
			}
		}
	}
	if told == 0 {
		t.Error("no process has saved a checkpoint")
	}
}

// readUntil reads the rest of a line without its dots, or until no dots are left.
func readUntil(r *bufio.Reader, dots *int) (line string, err error) {
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return line, err
		case c == '\n':
			return line, nil
		case c != '.':
			line += string(c)
		default:
			if *dots--; *dots == 0 {
				return line, nil
			}
		}
	}
}
