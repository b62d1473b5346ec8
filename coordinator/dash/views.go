package dash

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/job"
)

// The times and bounds of contact sheets.
const (
	drawTime   = 2 * time.Minute
	mostSheets = 16      // that are kept
	mostBytes  = 8 << 20 // of one
)

// sheets are the contact sheets that were drawn, by the job's digest. One is drawn at a time.
type sheets struct {
	drawing chan struct{}
	mu      *sync.Mutex
	kept    map[string][]byte
}

func newSheets() sheets {
	return sheets{drawing: make(chan struct{}, 1), mu: &sync.Mutex{}, kept: map[string][]byte{}}
}

func (s *sheets) get(digest string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[digest]
}

func (s *sheets) put(digest string, picture []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) >= mostSheets {
		clear(s.kept)
	}
	s.kept[digest] = picture
}

// views sends what teacher and student of a run see, as a PNG.
func (s *Site) views(w http.ResponseWriter, r *http.Request, leader *control.Service) error {
	d, err := s.run(r, leader)
	if err != nil {
		return err
	}
	select {
	case s.sheets.drawing <- struct{}{}:
		defer func() { <-s.sheets.drawing }()
	case <-r.Context().Done():
		return context.Cause(r.Context())
	}
	picture := s.sheets.get(d.Digest)
	if picture == nil {
		if picture, err = draw(r.Context(), s.Worker, d.Spec); err != nil {
			return &api.Error{Code: api.Refused, Text: err.Error()}
		}
		s.sheets.put(d.Digest, picture)
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(picture) // else the other side has gone
	return nil
}

// draw lets a worker process draw a job's views: it has the augmentation.
func draw(ctx context.Context, worker string, spec *job.Spec) ([]byte, error) {
	if worker == "" {
		return nil, errors.New("there is no worker's executable beside this coordinator's, which would draw the views; " +
			"draw them elsewhere with coordinator views JOB.yaml")
	}
	folder, err := os.MkdirTemp("", "pupil-views-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	data, err := json.Marshal(spec) // which is YAML as well
	if err != nil {
		return nil, err
	}
	file, picture := filepath.Join(folder, "job.yaml"), filepath.Join(folder, "views.png")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, drawTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, worker, "views", file, "--out", picture)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PUPIL_CONFIG=") }) // its keys are this program's
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the views cannot be drawn here: %.2000s (%w)", bytes.TrimSpace(said.Bytes()), err)
	}
	info, err := os.Stat(picture)
	if err == nil && info.Size() > mostBytes {
		err = fmt.Errorf("the contact sheet has %d bytes; draw it with coordinator views", info.Size())
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(picture)
}
