package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/coordinator/audit"
	"pupil/coordinator/job"
	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
)

func auditCommand() *cobra.Command {
	var f clientFlags
	var folder, record string
	cmd := &cobra.Command{
		Use:   "audit [RUN]",
		Short: "Prove that each sample was used exactly once in each epoch",
		Long: "Audit recomputes from a run's ledger of committed steps which sample was used in which step: a step's samples are a\n" +
			"function of job, data and step. It proves that each sample was used exactly once in each whole epoch, lists those\n" +
			"that a short last batch left out, and that the committed steps are without a gap. With --record it also compares\n" +
			"what the workers have really fed (worker join --record).\n\n" +
			"RUN is a run of the cluster; --folder is one of coordinator run. The job's data must be readable from here.\n\n" +
			"Exit codes: 0 all is proved, 1 it is not, 2 wrong use.",
		Example: "  coordinator audit faces-1\n" +
			"  coordinator audit faces-1 --record /shared/fed --json\n" +
			"  coordinator audit --folder runs/fashion-20261124-204634",
		Args: atMostOne("the name of a run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (folder == "") {
				return config.Usagef("name either a run of the cluster or, with --folder, one of coordinator run")
			}
			var spec *job.Spec
			var ledger audit.Ledger
			var err error
			if folder != "" {
				spec, ledger, err = ledgerOfFolder(cmd.Context(), folder)
			} else {
				spec, ledger, err = f.ledger(cmd.Context(), args[0])
			}
			if err != nil {
				return err
			}
			return auditRun(cmd, spec, ledger, record, f.json)
		},
	}
	cmd.Flags().StringVar(&folder, "folder", "", "folder or URL of a run of coordinator run")
	cmd.Flags().StringVar(&record, "record", "", "folder with the workers' records of what they have fed")
	f.add(cmd)
	return cmd
}

func auditRun(cmd *cobra.Command, spec *job.Spec, l audit.Ledger, record string, asJSON bool) error {
	r, err := audit.Run(cmd.Context(), spec, l)
	if err != nil {
		return err
	}
	if record != "" {
		if err := r.Compare(cmd.Context(), spec, record); err != nil {
			return err
		}
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), r)
	} else {
		printAudit(cmd.OutOrStdout(), r)
	}
	if err == nil && !r.ExactlyOnce {
		return errors.New("the audit has found faults: not every sample was used exactly once")
	}
	return err
}

// ledger asks the cluster for a run's ledger.
func (f *clientFlags) ledger(ctx context.Context, run string) (spec *job.Spec, l audit.Ledger, err error) {
	err = f.use(func(c *api.Client) error {
		d, err := c.Run(ctx, run)
		if err != nil {
			return err
		}
		spec, l = d.Spec, audit.Ledger{Run: d.Run.Run, Committed: d.Committed}
		for _, s := range d.Spans {
			l.Spans = append(l.Spans, audit.Span{Generation: s.Generation, From: s.From, To: s.To})
		}
		return nil
	})
	return spec, l, err
}

// ledgerOfFolder reads what the folder of a local run has reached: its summary, or else its newest checkpoint.
func ledgerOfFolder(ctx context.Context, folder string) (*job.Spec, audit.Ledger, error) {
	none := audit.Ledger{}
	url, err := location.FromPath(folder)
	if err != nil {
		return nil, none, config.Usagef("--folder: %w", err)
	}
	b, err := location.Open(ctx, url)
	if err != nil {
		return nil, none, config.Usagef("--folder: %w", err)
	}
	data, err := storage.ReadAll(ctx, b, wire.RecordName, api.MaxBody)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, none, config.Usagef("--folder: %s holds no run: there is no %s", folder, wire.RecordName)
	}
	if err != nil {
		return nil, none, err
	}
	record, err := wire.DecodeRecord(data)
	if err != nil {
		return nil, none, fmt.Errorf("%s in %s: %w", wire.RecordName, folder, err)
	}
	l := audit.Ledger{Run: record.Job}
	data, err = storage.ReadAll(ctx, b, wire.SummaryName, api.MaxBody)
	if err == nil {
		var done struct {
			Steps int `json:"steps"`
		}
		err = json.Unmarshal(data, &done)
		l.Committed = done.Steps
		return record.Spec, l, err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, none, err
	}
	newest, _, err := checkpoint.Latest(ctx, b)
	if err != nil && !errors.Is(err, checkpoint.ErrNone) {
		return nil, none, err
	}
	if newest != nil {
		l.Committed = newest.Step
	}
	return record.Spec, l, nil
}

func printAudit(w io.Writer, r *audit.Report) {
	t := newTable(w)
	row := func(name string, value any) { t.AppendRow(table.Row{name, value}) }
	yes := map[bool]string{true: "yes", false: "NO"}
	row("run", r.Run)
	row("samples", fmt.Sprintf("%d in %s", r.Samples, r.Dataset))
	row("committed steps", fmt.Sprintf("%d of %d, %d an epoch", r.Committed, r.Total, r.StepsPerEpoch))
	row("without a gap", yes[r.Gapless])
	row("whole epochs", r.Epochs)
	row("uses of samples", r.Uses)
	row("each exactly once an epoch", yes[r.ExactlyOnce])
	row("missing", len(r.Missing))
	row("repeated", len(r.Repeated))
	left := 0
	for _, l := range r.LeftOut {
		left += len(l.Samples)
	}
	row("left out by short last batches", left)
	if r.Fed != nil {
		row("fed as recorded", fmt.Sprintf("%s: %d records, %d of steps begun again, %d without a commit, %d images replaced", yes[r.Fed.Agrees],
			r.Fed.Records, r.Fed.Again, r.Fed.Beyond, r.Fed.Replaced))
	}
	t.Render()
	for _, g := range r.Gaps {
		fmt.Fprintln(w, "gap: "+g)
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out of epoch %d: %s\n", l.Epoch, ranges(l.Samples))
	}
	for _, u := range r.Missing {
		fmt.Fprintf(w, "missing from epoch %d: %d\n", u.Epoch, u.Sample)
	}
	for _, u := range r.Repeated {
		fmt.Fprintf(w, "repeated in epoch %d: %d\n", u.Epoch, u.Sample)
	}
	if r.Fed == nil {
		return
	}
	if r.Fed.Missing > 0 {
		fmt.Fprintf(w, "not recorded: %d times a step's lane\n", r.Fed.Missing)
	}
	for _, d := range r.Fed.Differ {
		fmt.Fprintln(w, "fed otherwise: "+d)
	}
}
