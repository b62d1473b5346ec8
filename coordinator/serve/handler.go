package serve

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httputil"
	"strconv"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/view"
)

// passed marks a request that another coordinator has passed on.
const passed = "Pupil-Passed-On-By"

// leading calls f on the leader, and elsewhere passes the request on to it.
func (s *server) leading(w http.ResponseWriter, r *http.Request, f func(*control.Service)) {
	if service := s.service.Load(); service != nil {
		f(service)
		return
	}
	if text := s.trouble.Load(); text != nil && s.log.Leads() {
		fail(w, refuse(api.NoLeader, "the coordinator that leads, "+s.config.ID+", cannot work: "+*text))
		return
	}
	leader, known := s.log.Leader()
	if !known || leader.ID == s.config.ID || r.Header.Get(passed) != "" {
		fail(w, errNoLeader)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: s.pass, FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", leader.Address
			p.Out.Header.Set(passed, s.config.ID)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			s.logger.Debug("the leader does not answer", "leader", leader.ID, "err", err)
			fail(w, errNoLeader)
		},
	}
	proxy.ServeHTTP(w, r)
}

// errNoLeader asks for patience.
var errNoLeader = refuse(api.NoLeader, "the coordinators have no leader at the moment; most of them must be there to choose one")

func refuse(code api.Code, text string) *api.Error { return &api.Error{Text: text, Code: code} }

// fail answers with an error.
func fail(w http.ResponseWriter, err error) { classify(err).Write(w) }

func classify(err error) *api.Error {
	var said *api.Error
	switch {
	case errors.As(err, &said):
		return said
	case errors.Is(err, raftlog.ErrNotLeader), errors.Is(err, control.ErrClosed), errors.Is(err, raftlog.ErrClosed):
		return errNoLeader
	case errors.Is(err, cluster.ErrUnknown):
		return refuse(api.NotFound, err.Error())
	case errors.Is(err, cluster.ErrRefused), errors.Is(err, cluster.ErrStale):
		return refuse(api.Refused, err.Error())
	}
	return refuse(api.Internal, err.Error())
}

// decode reads a request's body.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return refuse(api.Invalid, "the request cannot be read: "+err.Error())
	}
	return nil
}

// stream writes lines of JSON as they come.
type stream struct {
	to      http.ResponseWriter
	control *http.ResponseController
	encoder *json.Encoder
	begun   bool
}

func (s *stream) send(v any) error {
	if !s.begun {
		s.to.Header().Set("Content-Type", "application/x-ndjson")
	}
	s.begun = true
	if err := s.encoder.Encode(v); err != nil {
		return err
	}
	return s.control.Flush()
}

// watch sends the status now and after each change.
func (s *server) watch(out *stream, r *http.Request, leader *control.Service) error {
	for st := range leader.Watch(r.Context()) {
		if st.State == nil { // the service has only begun
			continue
		}
		if err := out.send(view.Status(s.config.ID, st)); err != nil {
			return err
		}
	}
	if !out.begun {
		return errNoLeader
	}
	return nil
}

// events sends the events above a sequence, and with follow those to come.
func (s *server) events(out *stream, r *http.Request, leader *control.Service) error {
	q := r.URL.Query()
	var after uint64
	if text := q.Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return refuse(api.Invalid, "after is "+strconv.Quote(text)+"; give the sequence of an event")
		}
	}
	follow := q.Get("follow") == "true"
	for st := range leader.Watch(r.Context()) {
		if st.State == nil {
			continue
		}
		for _, e := range st.Events {
			if e.Sequence <= after {
				continue
			}
			if err := out.send(e); err != nil {
				return err
			}
		}
		if n := len(st.Events); n > 0 {
			after = max(after, st.Events[n-1].Sequence)
		}
		if !follow {
			return nil
		}
	}
	if !follow {
		return errNoLeader
	}
	return nil
}
