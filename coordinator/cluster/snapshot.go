package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
)

type snapshot struct {
	Version int    `json:"version"`
	State   *State `json:"state"`
}

// Encode encodes the whole state. Equal states give equal bytes.
func (s *State) Encode() ([]byte, error) {
	data, err := json.Marshal(snapshot{Version: version, State: s})
	if err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	return data, nil
}

// Decode decodes what Encode has encoded.
func Decode(data []byte) (*State, error) {
	// The version comes first: a state of another version may have fields that this one does not know.
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if v.Version != version {
		return nil, fmt.Errorf("decode state: it has version %d; this build reads %d", v.Version, version)
	}
	var d snapshot
	if err := whole(data, &d); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	if d.State == nil {
		return nil, errors.New("decode state: it is missing")
	}
	if err := d.State.check(); err != nil {
		return nil, fmt.Errorf("decode state: %w", err)
	}
	return d.State, nil
}

// check holds a decoded state to what the commands rely on.
func (s *State) check() error {
	for i, w := range s.Workers {
		if i > 0 && s.Workers[i-1].ID >= w.ID {
			return fmt.Errorf("worker %q is out of order", w.ID)
		}
		if w.Run == "" {
			continue
		}
		if r := s.Run(w.Run); r == nil || r.Plan == nil {
			return fmt.Errorf("worker %q carries a plan of the run %q, which has none", w.ID, w.Run)
		}
	}
	names := make(map[string]bool, len(s.Runs))
	for _, r := range s.Runs {
		switch {
		case names[r.Run]:
			return fmt.Errorf("run %q is there twice", r.Run)
		case r.check() != nil:
			return r.check()
		case r.Plan != nil && checkLanes(r.Spec.Lanes, r.Plan.Members) != nil:
			return fmt.Errorf("run %q: %w", r.Run, checkLanes(r.Spec.Lanes, r.Plan.Members))
		case (r.Phase == Running || r.Phase == Stopping || r.Begun) && r.Plan == nil:
			return fmt.Errorf("run %q is %s without a plan", r.Run, r.Phase)
		}
		names[r.Run] = true
	}
	return nil
}
