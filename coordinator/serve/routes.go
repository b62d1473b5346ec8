package serve

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/dash"
	"pupil/internal/metrics"
)

// anybody is the role of those who show no token.
const anybody cluster.Role = ""

// route is an endpoint, and who may use it.
type route struct {
	pattern string
	role    cluster.Role
	serve   http.HandlerFunc
}

// routes are all endpoints. Streams end with their context.
func (s *server) routes(streams context.Context) []route {
	one := func(f answer) http.HandlerFunc { return s.answer(f) }
	lines := func(f streamer) http.HandlerFunc { return s.stream(streams, f) }
	page := dash.Page().ServeHTTP
	all := []route{
		{"GET /{$}", anybody, page},
		{"GET /dash/", anybody, page},
		{"GET /healthz", anybody, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }},
		{"GET /readyz", anybody, s.ready},
		{"GET /metrics", cluster.Viewer, metrics.Handler(s.metrics.Registry).ServeHTTP},
		{"GET /v1/status", cluster.Viewer, one(s.status)},
		{"GET /v1/runs", cluster.Viewer, one(s.runs)},
		{"GET /v1/runs/{run}", cluster.Viewer, one(s.run)},
		{"GET /v1/watch", cluster.Viewer, lines(s.watch)},
		{"GET /v1/events", cluster.Viewer, lines(s.events)},
		{"GET /v1/members", cluster.Viewer, one(s.members)},
		{"POST /v1/runs", cluster.Submitter, one(s.submit)},
		{"POST /v1/runs/{run}/cancel", cluster.Submitter, one(s.cancel)},
		{"POST /v1/members", cluster.Admin, one(s.addMember)},
		{"DELETE /v1/members/{id}", cluster.Admin, one(s.removeMember)},
		{"GET /v1/tokens", cluster.Admin, one(s.tokens)},
		{"POST /v1/tokens", cluster.Admin, one(s.addToken)},
		{"DELETE /v1/tokens/{name}", cluster.Admin, one(s.removeToken)},
		{"GET /v1/broker", cluster.Joiner, one(s.broker)},
		{"GET /v1/diagnosis", cluster.Admin, s.describe},
		{"GET /v1/workers/{worker}/process", cluster.Admin, one(s.inspect)},
		{"/", cluster.Viewer, func(w http.ResponseWriter, r *http.Request) {
			fail(w, refuse(api.NotFound, "there is no "+r.Method+" "+r.URL.Path))
		}},
	}
	for pattern, f := range s.site.Endpoints() {
		all = append(all, route{pattern, cluster.Viewer, s.read(streams, f)})
	}
	return all
}

// handler serves the routes.
func (s *server) handler(streams context.Context) http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes(streams) {
		mux.Handle(r.pattern, s.authorized(r.role, r.serve))
	}
	return mux
}

// answer is what an endpoint returns, to be written as JSON.
type answer func(r *http.Request, leader *control.Service) (any, error)

func (s *server) answer(f answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.leading(w, r, func(leader *control.Service) {
			v, err := f(r, leader)
			if err != nil {
				fail(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v) // else the other side has gone
		})
	}
}

// read is an endpoint that the page reads.
func (s *server) read(streams context.Context, f dash.Endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.leading(w, r, func(leader *control.Service) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(streams, cancel)()
			if err := f(w, r.WithContext(ctx), leader); err != nil {
				fail(w, err)
			}
		})
	}
}

// streamer sends lines until the request's context ends.
type streamer func(*stream, *http.Request, *control.Service) error

func (s *server) stream(streams context.Context, f streamer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.leading(w, r, func(leader *control.Service) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(streams, cancel)()
			out := &stream{to: w, control: http.NewResponseController(w), encoder: json.NewEncoder(w)}
			if err := f(out, r.WithContext(ctx), leader); err != nil && !out.begun {
				fail(w, err)
			}
		})
	}
}
