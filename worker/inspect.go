package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pupil/coordinator/job"
	"pupil/internal/config"
	"pupil/storage/location"
	"pupil/worker/inspect"
	"pupil/worker/nn"
	"pupil/worker/optim"
	"pupil/worker/setup"
)

// inspection is what the command was asked.
type inspection struct {
	network   nn.Config // of an architecture
	batch     int       // 0: not given
	optimizer string    // "": not given
	overrides []string
}

// designFlags describe an architecture; a folder and a job have their own.
var designFlags = []string{"width", "outputs", "size", "channels", "projection"}

func inspectCommand() *cobra.Command {
	architectures := strings.Join(nn.Architectures(), ", ")
	var i inspection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect MODEL|JOB.yaml",
		Short: "Show the layers of a network, what they cost, and the memory that it takes",
		Long: "Inspect prints a network's layers with their output, parameters, multiply-adds and bytes for one image, and\n" +
			"the memory of training and inference as it is planned. MODEL is a folder or URL with config.json and\n" +
			"model.safetensors, or the name of an architecture:\n" + architectures + ".\n" +
			"Of a job it shows the student and the teacher, with the images of a lane.",
		Example: "  worker inspect mobilenet_v2 --width 0.5 --size 96 --outputs 10 --batch 32\n" +
			"  worker inspect deploy/examples/fashion-teacher\n" +
			"  worker inspect deploy/examples/fashion.yaml --json",
		Args: config.Args(1, "a model's folder, an architecture, or a job file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if i.batch < 1 && cmd.Flags().Changed("batch") {
				return config.Usagef("--batch is %d; it must be at least 1", i.batch)
			}
			reports, err := i.reports(cmd, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(reports)
			}
			for n, r := range reports {
				if n > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := r.Print(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Float64Var(&i.network.Width, "width", 1, "width multiplier of an architecture")
	f.IntVar(&i.network.Outputs, "outputs", 1000, "width of an architecture's logits; 0: no classifier")
	f.IntVar(&i.network.Size, "size", 224, "height and width of an architecture's images")
	f.IntVar(&i.network.Channels, "channels", 3, "channels of an architecture's images, 1 or 3")
	f.IntVar(&i.network.Projection, "projection", 0, "width of an architecture's projection of the pooled features; 0: none")
	f.IntVar(&i.batch, "batch", 0, "images of a lane (default 16, of a job its own)")
	f.StringVar(&i.optimizer, "optimizer", "",
		"optimiser: "+strings.Join(optim.Names(), ", ")+" (default adamw, of a job its own)")
	f.StringArrayVar(&i.overrides, "set", nil, "override a key of the job, as in --set lanes=2 (repeatable)")
	f.BoolVar(&asJSON, "json", false, "print JSON: a list of networks")
	return cmd
}

// reports tells a job, an architecture and a folder apart.
func (i *inspection) reports(cmd *cobra.Command, what string) ([]*inspect.Report, error) {
	suffix := filepath.Ext(what)
	isJob, isName := suffix == ".yaml" || suffix == ".yml", slices.Contains(nn.Architectures(), what)
	for _, flag := range designFlags {
		if cmd.Flags().Changed(flag) && !isName {
			return nil, config.Usagef("--%s describes an architecture, and %s is none; leave it out, or name one of %s",
				flag, what, strings.Join(nn.Architectures(), ", "))
		}
	}
	if len(i.overrides) > 0 && !isJob {
		return nil, config.Usagef("--set overrides a key of a job file, and %s is none", what)
	}
	switch {
	case isJob:
		return i.ofJob(cmd, what)
	case isName:
		i.network.Architecture = what
		n, err := nn.New(i.network)
		if err != nil {
			return nil, config.Usage(err)
		}
		return i.ofNetwork(n)
	default:
		return i.ofFolder(cmd, what)
	}
}

// ofNetwork reports a network as a student whose loss sees the logits, or without these the projection or the pooled
// features.
func (i *inspection) ofNetwork(n *nn.Network) ([]*inspect.Report, error) {
	c := inspect.Config{Batch: 16, Outputs: []nn.Output{nn.Pooled}, Optimizer: optim.AdamW}
	for _, o := range []nn.Output{nn.Projection, nn.Logits} {
		if n.Width(o) > 0 {
			c.Outputs[0] = o
		}
	}
	return i.report(nil, n, c)
}

func (i *inspection) ofFolder(cmd *cobra.Command, what string) ([]*inspect.Report, error) {
	url, err := location.FromPath(what)
	if err != nil {
		return nil, config.Usage(err)
	}
	folder, err := location.Open(cmd.Context(), url)
	if err != nil {
		return nil, config.Usage(err)
	}
	n, _, _, _, err := nn.LoadFolder(cmd.Context(), folder)
	if err != nil {
		return nil, config.Usagef("%s is no job (.yaml), no architecture (%s) and no model's folder: %w",
			what, strings.Join(nn.Architectures(), ", "), err)
	}
	return i.ofNetwork(n)
}

func (i *inspection) ofJob(cmd *cobra.Command, what string) ([]*inspect.Report, error) {
	spec, err := job.LoadWith(what, i.overrides)
	if err != nil {
		return nil, config.Usage(err)
	}
	j, err := setup.Open(cmd.Context(), spec)
	if err != nil {
		return nil, err
	}
	c := inspect.Config{
		Role: "student", Batch: spec.Batch / spec.Lanes, Lanes: spec.Lanes, Optimizer: spec.Optimizer.Name, Average: spec.Average.Decay > 0,
	}
	for _, h := range j.Heads {
		c.Outputs = append(c.Outputs, h.Student)
	}
	reports, err := i.report(nil, j.Student, c)
	if err != nil || j.Teacher == nil {
		return reports, err
	}
	return i.report(reports, j.Teacher, inspect.Config{Role: "teacher", Batch: c.Batch, Lanes: c.Lanes, Freeze: j.TeacherFreeze()})
}

// report adds a network's report to others. Flags that were given win over c.
func (i *inspection) report(to []*inspect.Report, n *nn.Network, c inspect.Config) ([]*inspect.Report, error) {
	if i.batch > 0 {
		c.Batch = i.batch
	}
	if i.optimizer != "" {
		c.Optimizer = i.optimizer
	}
	r, err := inspect.Of(n, c)
	if err != nil {
		return nil, config.Usage(err)
	}
	return append(to, r), nil
}
