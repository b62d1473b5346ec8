package config_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pupil/internal/config"
)

func TestAwait(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, nil))
		begin := time.Now()
		config.Await(t.Context(), file, logger)
		if took := time.Since(begin); took != config.Patience || strings.Count(log.String(), file) != 1 {
			t.Errorf("a file that does not come: %s, log %q", took, log.String())
		}
		log.Reset()
		begin = time.Now()
		time.AfterFunc(time.Second, func() {
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				t.Error(err)
			}
		})
		config.Await(t.Context(), file, logger)
		if took := time.Since(begin); took < time.Second || took > 2*time.Second {
			t.Errorf("a file that comes after a second: %s", took)
		}
		log.Reset()
		begin = time.Now()
		config.Await(t.Context(), file, logger)
		if took := time.Since(begin); took != 0 || log.Len() > 0 {
			t.Errorf("a file that is there: %s, log %q", took, log.String())
		}
	})
}
