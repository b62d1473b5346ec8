package serve

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/view"
	"pupil/coordinator/wire"
)

func (s *server) status(_ *http.Request, leader *control.Service) (any, error) {
	st := leader.Status()
	if st.State == nil {
		return nil, errNoLeader
	}
	return view.Status(s.config.ID, st), nil
}

func (s *server) runs(r *http.Request, leader *control.Service) (any, error) {
	v, err := s.status(r, leader)
	if err != nil {
		return nil, err
	}
	return v.(*api.Status).Runs, nil
}

func (s *server) run(r *http.Request, leader *control.Service) (any, error) {
	return s.detail(r.PathValue("run"), leader)
}

func (s *server) detail(name string, leader *control.Service) (*api.Detail, error) {
	st := leader.Status()
	if st.State == nil {
		return nil, errNoLeader
	}
	if d := view.Detail(s.config.ID, st, name); d != nil {
		return d, nil
	}
	return nil, refuse(api.NotFound, "there is no run "+name+"; coordinator list shows those that are there")
}

// broker gives a session of a worker what it needs for the broker.
func (s *server) broker(r *http.Request, _ *control.Service) (any, error) {
	worker, session := r.URL.Query().Get("worker"), r.URL.Query().Get("session")
	if err := errors.Join(wire.CheckName("worker", worker), wire.CheckName("session", session)); err != nil {
		return nil, refuse(api.Invalid, err.Error())
	}
	users := s.config.Broker.Users()
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := users.WorkerAccess(worker, session, time.Now().Add(control.AccessLife), s.mark(token))
	return api.Broker{URL: s.config.Broker.URL(), User: a.User, Password: a.Password, DataPlane: s.config.DataPlane}, nil
}
