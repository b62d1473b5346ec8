package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/internal/config"
	"pupil/internal/diagnose"
)

func diagnoseCommand() *cobra.Command {
	var f clientFlags
	var out string
	var logs []string
	cmd := &cobra.Command{
		Use:   "diagnose [RUN]",
		Short: "Pack what somebody needs to look into a cluster's trouble",
		Long: "Diagnose writes one archive: status, members, events, each run with its job and ledger (or the one that is named),\n" +
			"and of each coordinator and worker the build, machine, settings, memory and what its goroutines do. What cannot be\n" +
			"got is named in problems.txt. Log files of this machine go in with --log, the newest megabyte of each.\n\n" +
			"Give all coordinators with --coordinator, so that each is asked. The archive holds no token, password or key; of\n" +
			"the environment it has names alone. It does hold names of hosts, files, buckets and images.",
		Example: "  coordinator diagnose --out trouble.tar.gz\n" +
			"  coordinator diagnose faces-1 --out faces.tar.gz --log /var/log/pupil/worker.log\n" +
			"  tar -xzOf trouble.tar.gz --wildcards '*/problems.txt'",
		Args: atMostOne("the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				out = "pupil-diagnosis-" + time.Now().Format("20060102-150405") + ".tar.gz"
			}
			run := ""
			if len(args) == 1 {
				run = args[0]
			}
			return f.use(func(c *api.Client) error {
				d := &diagnosis{client: c, flags: f, logs: logs}
				if err := d.write(cmd.Context(), out, run); err != nil {
					return err
				}
				if f.json {
					return printJSON(cmd.OutOrStdout(), map[string]any{"file": out, "entries": d.entries, "problems": append([]string{}, d.problems...)})
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s has %d files\n", out, len(d.entries))
				for _, p := range d.problems {
					fmt.Fprintln(cmd.ErrOrStderr(), p)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the archive, .tar.gz (default: pupil-diagnosis-TIME.tar.gz); a file that is there is not replaced")
	cmd.Flags().StringArrayVar(&logs, "log", nil, "a log file to take along; can be given several times")
	f.add(cmd)
	return cmd
}

// diagnosis is an archive that is being written.
type diagnosis struct {
	client   *api.Client
	flags    clientFlags
	logs     []string
	tar      *tar.Writer
	entries  []string
	problems []string
	err      error // of the archive
}

// write makes the archive. What cannot be got is noted; only an archive that cannot be written is an error.
func (d *diagnosis) write(ctx context.Context, file, run string) (err error) {
	if run != "" {
		if _, err := d.client.Run(ctx, run); err != nil {
			return err
		}
	}
	to, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return config.Usagef("--out: %w; name another file", err)
	}
	if err != nil {
		return config.Usagef("--out: %w", err)
	}
	z := gzip.NewWriter(to)
	d.tar = tar.NewWriter(z)
	d.collect(ctx, run)
	err = errors.Join(d.err, d.tar.Close(), z.Close(), to.Close())
	if err != nil {
		_ = os.Remove(file) // a part of it is of no use
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func (d *diagnosis) collect(ctx context.Context, run string) {
	d.json("here.json", diagnose.Read("coordinator diagnose", ""))
	for i, address := range d.flags.addresses {
		one := d.flags
		one.addresses, one.patience = []string{address}, time.Second
		d.coordinator(ctx, fmt.Sprintf("coordinators/%d", i), address, one)
	}
	status, err := d.client.Status(ctx)
	if d.got("status", err) {
		d.json("status.json", status)
		for _, w := range status.Workers {
			p, err := d.client.Inspect(ctx, w.ID)
			if d.got("worker "+w.ID, err) {
				d.process("workers/"+w.ID, p)
			}
		}
		for _, r := range status.Runs {
			if run != "" && r.Run != run {
				continue
			}
			detail, err := d.client.Run(ctx, r.Run)
			if d.got("run "+r.Run, err) {
				d.json("runs/"+r.Run+".json", detail)
			}
		}
	}
	members, err := d.client.Members(ctx)
	if d.got("members", err) {
		d.json("members.json", members)
	}
	events := []*api.Event{}
	if d.got("events", d.client.Events(ctx, 0, false, func(e *api.Event) error { events = append(events, e); return nil })) {
		d.json("events.json", events)
	}
	for i, file := range d.logs {
		text, err := tail(file)
		if d.got("log "+file, err) {
			d.add(fmt.Sprintf("logs/%d-%s", i, filepath.Base(file)), hide(text))
		}
	}
	problems := ""
	for _, p := range d.problems {
		problems += p + "\n"
	}
	d.add("problems.txt", []byte(problems))
}

// coordinator asks one of the coordinators about itself.
func (d *diagnosis) coordinator(ctx context.Context, name, address string, f clientFlags) {
	c, err := f.open()
	if !d.got("coordinator "+address, err) {
		return
	}
	defer c.Close()
	x, err := c.Diagnose(ctx)
	if !d.got("coordinator "+address, err) {
		return
	}
	stacks := x.Process.Stacks
	x.Process.Stacks = ""
	d.json(name+"/coordinator.json", x)
	d.add(name+"/goroutines.txt", []byte(stacks))
}

func (d *diagnosis) process(name string, p *api.Process) {
	stacks := p.Stacks
	p.Stacks = ""
	d.json(name+"/process.json", p)
	d.add(name+"/goroutines.txt", []byte(stacks))
}

// got notes what could not be got.
func (d *diagnosis) got(what string, err error) bool {
	if err != nil {
		d.problems = append(d.problems, what+": "+err.Error())
	}
	return err == nil
}

func (d *diagnosis) json(name string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if d.got(name, err) {
		d.add(name, append(hide(data), '\n'))
	}
}

func (d *diagnosis) add(name string, data []byte) {
	if d.err != nil {
		return
	}
	name = path.Join("pupil-diagnosis", name)
	d.entries = append(d.entries, name)
	d.err = d.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: time.Now(), Typeflag: tar.TypeReg})
	if d.err == nil {
		_, d.err = d.tar.Write(data)
	}
}

// secret finds what logs and URLs might hold although they should not: passwords in URLs, bearer tokens, keys.
var secret = regexp.MustCompile(`(?i)(://[^/\s:@"]*:)[^@\s/"]+(@)|(bearer\s+|(?:password|secret|token|access_?key)["']?\s*[=:]\s*["']?)[^\s"',}]+`)

// hide removes what looks like a secret.
func hide(text []byte) []byte { return secret.ReplaceAll(text, []byte("${1}${3}(hidden)${2}")) }

// tail is the newest megabyte of a file.
func tail(file string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, most))
}
