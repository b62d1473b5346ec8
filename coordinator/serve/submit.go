package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/wire"
	"pupil/storage"
	"pupil/storage/checkpoint"
	"pupil/storage/location"
)

// submit takes a job in: its record goes into the run's storage, then the run into the log.
func (s *server) submit(r *http.Request, leader *control.Service) (any, error) {
	var in api.Submission
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	sub, err := s.submission(in)
	if err != nil {
		return nil, err
	}
	st := leader.Status()
	if st.State == nil {
		return nil, errNoLeader
	}
	known := st.State.Run(sub.Run)
	switch {
	case known == nil:
	case known.Digest == sub.Digest && known.Storage == sub.Storage && (!in.Resume || !known.Phase.Over()):
		if known.Phase.Over() {
			return nil, refuse(api.Refused, fmt.Sprintf("run %s is %s already; go on with it by --resume, or give the new run "+
				"another name", sub.Run, known.Phase))
		}
		return s.answerRun(sub.Run, leader) // it was sent again
	case !in.Resume:
		return nil, refuse(api.Refused, fmt.Sprintf("there is a run %s already, of another job or storage; give the new run another "+
			"name", sub.Run))
	}
	if err = s.place(r.Context(), &sub, in.Resume); err != nil {
		return nil, err
	}
	if known == nil {
		err = leader.Submit(r.Context(), sub)
	} else {
		err = leader.Resume(r.Context(), sub)
	}
	if err != nil {
		return nil, err
	}
	return s.answerRun(sub.Run, leader)
}

// submission checks what was sent.
func (s *server) submission(in api.Submission) (cluster.Submission, error) {
	none := cluster.Submission{}
	if err := wire.CheckName("run", in.Run); err != nil {
		return none, refuse(api.Invalid, err.Error())
	}
	if in.Spec == nil {
		return none, refuse(api.Invalid, "the submission has no job")
	}
	if err := in.Spec.Validate(); err != nil {
		return none, refuse(api.Invalid, err.Error())
	}
	if in.MinWorkers < 0 || in.Workers < 0 || in.MaxWorkers < 0 {
		return none, refuse(api.Invalid, "a number of workers is negative")
	}
	if in.Storage == "" {
		var err error
		if in.Storage, err = location.Join(s.config.Storage, in.Run); err != nil {
			return none, err
		}
	}
	sub := cluster.Submission{
		Run: in.Run, Spec: in.Spec, Digest: in.Spec.Digest(), Storage: in.Storage, MinWorkers: max(1, in.MinWorkers),
		Workers: in.Workers, MaxWorkers: in.MaxWorkers, Restore: -1,
	}
	return sub, s.allowed(sub)
}

// place prepares the run's storage, and finds the checkpoint to begin from.
func (s *server) place(ctx context.Context, sub *cluster.Submission, resume bool) error {
	b, err := location.Open(ctx, sub.Storage)
	if err != nil {
		return refuse(api.Invalid, err.Error())
	}
	data, err := storage.ReadAll(ctx, b, wire.RecordName, api.MaxBody)
	if errors.Is(err, storage.ErrNotFound) {
		return s.record(ctx, b, *sub)
	}
	if err != nil {
		return err
	}
	have, err := wire.DecodeRecord(data)
	switch {
	case err != nil:
		return refuse(api.Refused, fmt.Sprintf("%s in %s is no run's record: %v; choose another storage", wire.RecordName, sub.Storage, err))
	case have.Digest != sub.Digest:
		return refuse(api.Refused, fmt.Sprintf("%s holds a run of another job (%s, digest %.12s; this one has %.12s); choose another "+
			"storage", sub.Storage, have.Job, have.Digest, sub.Digest))
	}
	newest, passed, err := checkpoint.Latest(ctx, b)
	for _, f := range passed {
		sub.Passed = append(sub.Passed, f.String())
	}
	switch {
	case errors.Is(err, checkpoint.ErrNone):
		return nil
	case err != nil:
		return err
	case !resume:
		return refuse(api.Refused, fmt.Sprintf("%s holds a run of this job already, up to step %d; go on with it by --resume, or "+
			"choose another storage", sub.Storage, newest.Step))
	}
	sub.Restore = newest.Step
	return nil
}

func (s *server) record(ctx context.Context, b storage.Bucket, sub cluster.Submission) error {
	data, err := json.MarshalIndent(wire.Record{
		Job: sub.Spec.Name, Digest: sub.Digest, Version: s.config.Version, Created: time.Now().UTC(), Spec: sub.Spec,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", wire.RecordName, err)
	}
	data = append(data, '\n')
	return b.Put(ctx, wire.RecordName, strings.NewReader(string(data)), int64(len(data)))
}

func (s *server) answerRun(name string, leader *control.Service) (any, error) {
	d, err := s.detail(name, leader)
	if err != nil {
		return nil, err
	}
	return d.Run, nil
}

// cancel asks a run to stop. One that is over already is left as it is.
func (s *server) cancel(r *http.Request, leader *control.Service) (any, error) {
	var in api.Reason
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	name := r.PathValue("run")
	d, err := s.detail(name, leader)
	if err != nil {
		return nil, err
	}
	if d.Phase.Over() {
		return nil, refuse(api.Refused, fmt.Sprintf("run %s is %s already", name, d.Phase))
	}
	if in.Reason == "" {
		in.Reason = "cancelled"
	}
	if err := leader.Cancel(r.Context(), name, in.Reason); err != nil {
		return nil, err
	}
	return s.answerRun(name, leader)
}

func (s *server) members(*http.Request, *control.Service) (any, error) {
	all, err := s.log.Members()
	if err != nil {
		return nil, err
	}
	out := []api.Member{}
	for _, m := range all {
		out = append(out, api.Member{ID: m.ID, Address: m.Address, Leader: m.ID == s.config.ID})
	}
	return out, nil
}

func (s *server) addMember(r *http.Request, leader *control.Service) (any, error) {
	var in api.Member
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	p := raftlog.Peer{ID: in.ID, Address: in.Address}
	if err := raftlog.CheckPeers([]raftlog.Peer{p}); err != nil {
		return nil, refuse(api.Invalid, err.Error())
	}
	if err := s.change(s.log.AddMember(r.Context(), p)); err != nil {
		return nil, err
	}
	return s.members(r, leader)
}

func (s *server) removeMember(r *http.Request, leader *control.Service) (any, error) {
	if err := s.change(s.log.RemoveMember(r.Context(), r.PathValue("id"))); err != nil {
		return nil, err
	}
	return s.members(r, leader)
}

// change makes what the group refuses an error of the one who asked.
func (s *server) change(err error) error {
	if err == nil || errors.Is(err, raftlog.ErrNotLeader) || errors.Is(err, raftlog.ErrClosed) {
		return err
	}
	return refuse(api.Refused, err.Error())
}
