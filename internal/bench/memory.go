package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

// growth is the resident memory that steps need beside networks and images: the peak less what was there before.
type growth struct {
	Growth int64 `json:"growth"` // bytes
}

// peakCommand is what a memory case runs in a fresh process.
func peakCommand() *cobra.Command {
	return &cobra.Command{
		Use: "peak CASE FOLDER STEPS", Hidden: true, Args: config.Args(3, "a case, a folder and a number of steps"),
		RunE: func(cmd *cobra.Command, args []string) error {
			steps, err := strconv.Atoi(args[2])
			if err != nil {
				return config.Usage(err)
			}
			for _, c := range cases {
				if c.name != args[0] {
					continue
				}
				runtime.GOMAXPROCS(c.threads)
				g, err := peak(cmd.Context(), c, args[1], steps)
				if err != nil {
					return err
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(g)
			}
			return config.Usagef("there is no case %s", args[0])
		},
	}
}

// peak reads networks and images, and makes steps.
func peak(ctx context.Context, c benchmark, folder string, steps int) (growth, error) {
	m, err := readModels(c.pair, folder)
	if err != nil {
		return growth{}, err
	}
	debug.FreeOSMemory() // what reading has left
	if err := forgetPeak(); err != nil {
		return growth{}, err
	}
	before, err := resident("VmRSS")
	if err != nil {
		return growth{}, err
	}
	o, err := newOurStep(m, c.threads)
	if err != nil {
		return growth{}, err
	}
	defer o.close()
	if err := o.run(ctx, steps); err != nil {
		return growth{}, err
	}
	most, err := resident("VmHWM")
	return growth{most - before}, err
}

// measureMemory compares fresh processes. PyTorch's is the smaller of its two layouts.
func (b *bench) measureMemory(ctx context.Context, c benchmark, m *models, r *result) error {
	return b.repeat(ctx, c, func(bool) (p sample, err error) {
		if p.Ours.Bytes, err = b.ourGrowth(ctx, c, m); err != nil {
			return p, err
		}
		for _, layout := range []string{"contiguous", "channels_last"} {
			layouts := map[string]string{teacher: layout, student: layout}
			bytes, err := b.peerGrowth(ctx, c, m, layouts)
			if err != nil {
				return p, err
			}
			if p.Peer.Bytes == 0 || bytes < p.Peer.Bytes {
				p.Peer.Bytes, r.Layouts = bytes, layouts
			}
		}
		return p, nil
	}, r)
}

func (b *bench) ourGrowth(ctx context.Context, c benchmark, m *models) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "peak", c.name, m.folder, strconv.Itoa(c.runs))
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("our side: %w: %s", err, strings.TrimSpace(messages.String()))
	}
	var g growth
	if err := json.Unmarshal(out, &g); err != nil {
		return 0, fmt.Errorf("our side answers %q: %w", out, err)
	}
	return g.Growth, nil
}

func (b *bench) peerGrowth(ctx context.Context, c benchmark, m *models, layouts map[string]string) (int64, error) {
	p, err := b.preparePeer(ctx, c, m)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	if err := p.ask(map[string]any{"do": "use", "layouts": layouts}, &struct{}{}); err != nil {
		return 0, err
	}
	var g growth
	err = p.ask(map[string]any{"do": "memory", "times": c.runs}, &g)
	return g.Growth, err
}
