package local

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/control"
	"pupil/coordinator/dash"
	"pupil/coordinator/history"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/view"
)

// here is the name of the only coordinator of a local run.
const here = "local"

// listenPage takes the page's address, which is one of this machine alone.
func listenPage(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, refuse("--page is %q; write it as host:port, 127.0.0.1:0 for a free port", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, refuse("--page is %q; the page of a local run listens on this machine only, as on 127.0.0.1:0; from elsewhere "+
			"use a tunnel, such as ssh -L", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, refuse("--page: %w", err)
	}
	return l, nil
}

// servePage shows the run on a web page until end is called. Its token is drawn for this start alone; the fragment of the
// page's address, which never leaves the browser, carries it there.
func (e *execution) servePage(l net.Listener, broker *control.Broker, log *raftlog.Log) (end func()) {
	logger := e.config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	worker, err := WorkerBinary(e.config.WorkerBinary)
	if err != nil {
		logger.Debug("the page will have no views", "err", err)
	}
	site := dash.NewSite(here, history.New(history.Config{State: log.State, Logger: logger}), worker)
	endSite := site.Keep(broker, logger)
	token := control.NewSecret()
	h := &http.Server{
		Handler: pageHandler(site, e.service, token), ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the page", "err", err)
		}
	}()
	e.config.Display.Notice(fmt.Sprintf("page: http://%s/#token=%s", l.Addr(), token))
	return func() {
		_ = h.Close() // streams would not end by themselves
		<-served
		endSite()
	}
}

// pageHandler is the page and what it reads.
func pageHandler(site *dash.Site, service *control.Service, token string) http.Handler {
	data := http.NewServeMux()
	for pattern, f := range site.Endpoints() {
		data.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r, service); err != nil {
				fail(w, err)
			}
		})
	}
	data.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		st := service.Status()
		if st.State == nil {
			fail(w, &api.Error{Code: api.NoLeader, Text: "the coordinator has only begun; try again"})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(view.Status(here, st)) // else the other side has gone
	})
	want := []byte("Bearer " + token)
	all, page := http.NewServeMux(), dash.Page()
	all.Handle("GET /{$}", page)
	all.Handle("GET /dash/", page)
	all.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			fail(w, &api.Error{Code: api.Unauthorized, Text: "the token of this run is needed: open the page by the address that coordinator run has printed"})
			return
		}
		data.ServeHTTP(w, r)
	})
	return all
}

func fail(w http.ResponseWriter, err error) {
	var said *api.Error
	if !errors.As(err, &said) {
		said = &api.Error{Code: api.Internal, Text: err.Error()}
	}
	said.Write(w)
}
