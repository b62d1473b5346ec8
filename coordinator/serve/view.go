package serve

import (
	"net/http"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/view"
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

func (s *server) broker(*http.Request, *control.Service) (any, error) {
	b := api.Broker{URL: s.config.Broker.URL()}
	b.User, b.Password = s.config.Broker.Worker()
	return b, nil
}
