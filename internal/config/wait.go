package config

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// Patience is how long a program waits for a file that another one makes when it starts.
const Patience = 15 * time.Second

// Await waits, at most for Patience, until a file is there that another process makes at its first start, so that both may
// be started at the same time. It says so when it must wait. Whoever reads the file tells when it did not come.
func Await(ctx context.Context, file string, logger *slog.Logger) {
	const often = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for said := false; ; said = true {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			return
		}
		if !said {
			logger.Warn("waiting for a file that another program makes when it starts", "file", file, "for", Patience)
		}
		select {
		case <-time.After(often):
		case <-ctx.Done():
			return
		}
	}
}
