// Package view shows a coordinator's status in the types of the API.
package view

import (
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
)

// Status is where things stand on the coordinator that leads.
func Status(leader string, st control.Status) *api.Status {
	v := &api.Status{Leader: leader, Time: time.Now().UTC(), Runs: []api.Run{}, Workers: []api.Worker{}}
	for _, w := range st.Workers {
		v.Workers = append(v.Workers, worker(w))
	}
	for i := range st.State.Runs {
		v.Runs = append(v.Runs, run(st, &st.State.Runs[i], v.Workers))
	}
	return v
}

func worker(w control.WorkerStatus) api.Worker {
	v := api.Worker{
		ID: w.ID, Host: w.Host, PID: w.PID, Threads: w.Threads, Kernel: w.Kernel, Build: w.Build, Numerics: w.Numerics, Rank: w.Rank, Lanes: w.Lanes,
		Activity: string(w.Activity), Step: w.Step, Compute: w.Times.Compute, Wait: w.Times.Wait, Send: w.Times.Send,
		Left: w.Times.Left, Behind: w.Times.Behind, Add: w.Times.Add, Under: w.Times.Exchange, Exposed: w.Times.Exposed,
		Hidden: w.Times.Hidden(),
		Joined: w.Joined, Heard: w.Heard.UTC(),
	}
	if v.Lanes == nil {
		v.Lanes = []int{}
	}
	if w.Rank >= 0 {
		v.Run = w.Run
	}
	return v
}

// run is a run.
func run(st control.Status, r *cluster.Run, workers []api.Worker) api.Run {
	v := api.Run{
		Run: r.Run, Job: r.Spec.Name, Phase: r.Phase, Reason: r.Reason, Digest: r.Digest, Storage: r.Storage,
		MinWorkers: r.MinWorkers, MaxWorkers: r.MaxWorkers, Submitted: r.Submitted, Since: r.Since, Committed: r.Committed, Step: r.Position,
		Total: r.Spec.Steps, Checkpoints: append([]int{}, r.Checkpoints...), Weights: r.Weights, Workers: []api.Worker{},
	}
	if r.Plan != nil {
		v.Generation = r.Plan.Generation
	}
	if r.Phase == cluster.Finished || r.Phase == cluster.Stopped {
		v.Step = max(v.Step, r.EndedStep)
	}
	if p := st.Reports[r.Run]; p != nil {
		v.Loss, v.MutualInformation, v.StepSeconds, v.Total = p.Loss, p.MutualInformation, p.Seconds, p.Total
		if !r.Phase.Over() {
			v.Step = max(v.Step, p.Step)
		}
		if p.Seconds > 0 && !r.Phase.Over() {
			v.ImagesPerSecond = float64(p.Images) / p.Seconds
			v.ETASeconds = float64(max(0, p.Total-p.Step)) * p.Seconds
		}
	}
	if v.Phase == cluster.Running || v.Phase == cluster.Stopping {
		for _, m := range r.Plan.Members {
			for _, w := range workers {
				if w.ID == m.Worker && w.Run == r.Run {
					v.Workers = append(v.Workers, w)
				}
			}
		}
		v.Slow = slow(v.Workers)
	}
	return v
}

// Detail is a run with its job and its ledger; nil if there is none of that name.
func Detail(leader string, st control.Status, name string) *api.Detail {
	for _, v := range Status(leader, st).Runs {
		if v.Run == name {
			r := st.State.Run(name)
			d := &api.Detail{Run: v, Spec: r.Spec, Spans: []api.Span{}}
			for _, s := range r.Spans {
				d.Spans = append(d.Spans, api.Span(s))
			}
			return d
		}
	}
	return nil
}

// slow names the worker that the others wait for, or is nil.
func slow(workers []api.Worker) *api.Slow {
	loads := make([]cluster.Load, len(workers))
	for i, w := range workers {
		loads[i] = cluster.Load{Compute: w.Compute, Send: w.Send, Receive: w.Add, Left: w.Left, Wait: w.Wait}
	}
	rank, cause := cluster.Slow(loads)
	if cause == "" {
		return nil
	}
	return &api.Slow{Worker: workers[rank].ID, Rank: workers[rank].Rank, Cause: string(cause)}
}
