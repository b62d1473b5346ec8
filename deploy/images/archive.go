package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// binaries reads the programs of an archive, by name.
func binaries(file string) (map[string][]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%w; make dist makes it", err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	found := map[string][]byte{}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		parts := strings.Split(h.Name, "/")
		if len(parts) == 3 && parts[1] == "bin" && slices.Contains(programs, parts[2]) {
			if found[parts[2]], err = io.ReadAll(r); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, h.Name, err)
			}
		}
	}
	for _, program := range programs {
		if len(found[program]) == 0 {
			return nil, fmt.Errorf("%s has no bin/%s", file, program)
		}
	}
	return found, nil
}

// write writes an index with its images as an OCI layout into a tar file, which appears whole. An engine that loads it gives it the
// name, as that of an image that was built there.
func write(file, name string, index v1.ImageIndex, at time.Time) error {
	work, err := os.MkdirTemp("", "pupil-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	path, err := layout.Write(work, empty.Index)
	if err != nil {
		return err
	}
	names := map[string]string{
		"org.opencontainers.image.ref.name": name,                // podman, skopeo
		"io.containerd.image.name":          "docker.io/" + name, // containerd, docker; as a name without a registry reads there
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(names)); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(part.Name())
	if err := errors.Join(pack(part, os.DirFS(work), at), part.Chmod(0o644), part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), file)
}

// pack writes the files of a folder, in the order of their names, as nobody's of that time.
func pack(to io.Writer, folder fs.FS, at time.Time) error {
	w := tar.NewWriter(to)
	err := fs.WalkDir(folder, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: at, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	return errors.Join(err, w.Close())
}
