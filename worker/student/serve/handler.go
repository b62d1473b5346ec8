package serve

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pupil/augment"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
)

//go:embed openapi.json
var openapi []byte

//go:embed page.html
var page []byte

// Handler is the server's interface. It answers images only while Run runs.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range s.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(pattern, handler)
		mux.Handle(path, only(method))
	}
	mux.HandleFunc("/", nowhere)
	return s.counted(mux)
}

// only answers a path's requests by any other method.
func only(method string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		fail(w, &failure{http.StatusMethodNotAllowed, "wrong_method", fmt.Sprintf("%s takes %s, not %s", r.URL.Path, method, r.Method)})
	}
}

// nowhere answers where there is nothing else.
func nowhere(w http.ResponseWriter, r *http.Request) {
	fail(w, &failure{http.StatusNotFound, "no_path", fmt.Sprintf("there is no %s; /openapi.json describes what there is", r.URL.Path)})
}

// routes are the patterns that are served.
func (s *Server) routes() map[string]http.Handler {
	scrape := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	return map[string]http.Handler{
		"GET /{$}":          http.HandlerFunc(servePage),
		"GET /healthz":      http.HandlerFunc(healthz),
		"GET /readyz":       http.HandlerFunc(s.readyz),
		"GET /openapi.json": http.HandlerFunc(describe),
		"GET /metrics":      s.guarded(scrape.ServeHTTP),
		"GET /v1/info":      s.guarded(s.info),
		"POST /v1/features": s.guarded(s.answering(s.features)),
		"POST /v1/classify": s.guarded(s.answering(s.classify)),
		"POST /v1/identify": s.guarded(s.answering(s.identify)),
	}
}

func healthz(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, status{"alive"}) }

func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi)
}

type status struct {
	Status string `json:"status"`
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() {
		write(w, http.StatusServiceUnavailable, status{"not ready"})
		return
	}
	write(w, http.StatusOK, status{"ready"})
}

func servePage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "+
		"img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(page)
}

// counted measures every request, by the pattern that it met: a client cannot make up more of them.
func (s *Server) counted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &recorder{ResponseWriter: w, code: http.StatusOK}
		mux.ServeHTTP(seen, r)
		path := "other"
		if _, after, ok := strings.Cut(r.Pattern, " "); ok {
			path = strings.TrimSuffix(after, "{$}")
		}
		s.metrics.requests.WithLabelValues(path, strconv.Itoa(seen.code)).Inc()
		s.metrics.seconds.WithLabelValues(path).Observe(time.Since(start).Seconds())
	})
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	code int
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// guarded asks for a token, where there are some.
func (s *Server) guarded(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.tokens) > 0 {
			token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			// Digests are looked up, so that the time tells nothing of the tokens.
			if !ok || !s.tokens[sha256.Sum256([]byte(token))] {
				w.Header().Set("WWW-Authenticate", `Bearer realm="pupil"`)
				fail(w, &failure{http.StatusUnauthorized, "unauthorized", "send a valid token: Authorization: Bearer TOKEN"})
				return
			}
		}
		next(w, r)
	})
}

// answering bounds the requests at a time, reads the images, has them computed, and lets next answer.
func (s *Server) answering(next func(r *http.Request, images []picture, answers []answer) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			w.Header().Set("Retry-After", "1")
			fail(w, &failure{http.StatusTooManyRequests, "busy", fmt.Sprintf("%d requests are being answered, which is the "+
				"limit; try again later", s.config.Requests)})
			return
		}
		s.metrics.active.Inc()
		defer s.metrics.active.Dec()
		images, err := s.read(w, r)
		var body any
		if err == nil {
			var answers []answer
			if answers, err = s.ask(r.Context(), images); err == nil {
				body, err = next(r, images, answers)
			}
		}
		if err != nil {
			fail(w, err)
			return
		}
		s.metrics.images.Add(float64(len(images)))
		write(w, http.StatusOK, body)
	}
}

// ask has images computed within the timeout.
func (s *Server) ask(ctx context.Context, images []picture) ([]answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	s.batcher.coming.Add(int64(len(images)))
	tasks := make([]*task, len(images))
	for i, p := range images {
		t := &task{ctx: ctx, values: make([]float32, s.model.View().Len()), done: make(chan answer, 1)}
		if err := s.decode(ctx, t.values, p); err != nil {
			s.batcher.coming.Add(int64(i - len(images))) // those that are queued already are taken by their batch
			return nil, err
		}
		tasks[i] = t
		s.batcher.queue <- t // there is room: the queue has as many places as all requests have images
	}
	answers := make([]answer, len(tasks))
	for i, t := range tasks {
		select {
		case answers[i] = <-t.done:
		case <-ctx.Done():
			answers[i].err = context.Cause(ctx)
		}
		if ctx.Err() != nil {
			return nil, s.late(ctx)
		}
		if err := answers[i].err; err != nil {
			return nil, err
		}
		for _, v := range answers[i].pooled {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("%s: the network gives the value %v", images[i].name, v)
			}
		}
	}
	return answers, nil
}

// late is a request whose time has ended, or whose client has left.
func (s *Server) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &failure{http.StatusGatewayTimeout, "timeout", fmt.Sprintf("there was no answer within %s", s.config.Timeout)}
	}
	return context.Cause(ctx)
}

// decode turns a picture into what the network takes. As many are decoded at a time as there are workers, which bounds the
// memory of their pixels.
func (s *Server) decode(ctx context.Context, to []float32, p picture) error {
	select {
	case s.decoders <- struct{}{}:
		defer func() { <-s.decoders }()
	case <-ctx.Done():
		return s.late(ctx)
	}
	_, width, height, err := augment.Describe(p.data)
	if err == nil && width > s.config.Pixels/height {
		return &failure{http.StatusRequestEntityTooLarge, "image_too_large", fmt.Sprintf("%s has %d x %d pixels; at most %d are taken",
			p.name, width, height, s.config.Pixels)}
	}
	if err == nil {
		err = s.model.Decode(to, p.data, augment.Key{})
	}
	switch {
	case errors.Is(err, augment.ErrTooLarge):
		return &failure{http.StatusRequestEntityTooLarge, "image_too_large", fmt.Sprintf("%s: %v", p.name, err)}
	case err != nil:
		return &failure{http.StatusUnprocessableEntity, "broken_image", fmt.Sprintf("%s: %v", p.name, err)}
	}
	return nil
}

// Answers to images.
type (
	featured struct {
		Name     string    `json:"name"`
		Features []float32 `json:"features"`
	}
	classified struct {
		Name    string          `json:"name"`
		Classes []student.Guess `json:"classes"`
	}
	identified struct {
		Name string `json:"name"`
		gallery.Answer
	}
	results struct {
		Student string `json:"student"` // digest
		Results any    `json:"results"`
	}
)

func (s *Server) features(r *http.Request, images []picture, answers []answer) (any, error) {
	list := make([]featured, len(images))
	for i, a := range answers {
		list[i] = featured{images[i].name, a.pooled}
	}
	if normalize := r.URL.Query().Get("normalize"); normalize == "true" {
		for i := range list {
			list[i].Features = student.Unit(list[i].Features, len(list[i].Features))
		}
	} else if normalize != "" && normalize != "false" {
		return nil, &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf("normalize is %q; give true or false", normalize)}
	}
	return results{s.model.Digest, list}, nil
}

func (s *Server) classify(r *http.Request, images []picture, answers []answer) (any, error) {
	if s.classifier == nil {
		return nil, &failure{http.StatusNotFound, "no_classifier", "this student has no classifier; fit one with worker fit-head"}
	}
	k, err := top(r, 5)
	if err != nil {
		return nil, err
	}
	list := make([]classified, len(images))
	for i, a := range answers {
		list[i] = classified{images[i].name, student.Top(s.classifier.Classes, s.classifier.Probabilities(a.pooled, a.logits), k)}
	}
	return results{s.model.Digest, list}, nil
}

func (s *Server) identify(r *http.Request, images []picture, answers []answer) (any, error) {
	if s.gallery == nil {
		return nil, &failure{http.StatusNotFound, "no_gallery", "this server has no gallery; start it with --gallery"}
	}
	k, err := top(r, 3)
	if err != nil {
		return nil, err
	}
	list := make([]identified, len(images))
	for i, a := range answers {
		found, err := s.gallery.Identify(a.pooled, k)
		if err != nil {
			return nil, err
		}
		list[i] = identified{images[i].name, found}
	}
	return results{s.model.Digest, list}, nil
}

// top is the query's number of answers an image.
func top(r *http.Request, usual int) (int, error) {
	text := r.URL.Query().Get("top")
	if text == "" {
		return usual, nil
	}
	k, err := strconv.Atoi(text)
	if err != nil || k < 1 || k > 1000 {
		return 0, &failure{http.StatusBadRequest, "bad_request", fmt.Sprintf("top is %q; give 1 to 1000", text)}
	}
	return k, nil
}

// information is what /v1/info tells.
type information struct {
	Student      string   `json:"student"` // digest
	Architecture string   `json:"architecture"`
	Features     int      `json:"features"`
	Classes      []string `json:"classes"`    // [] without a classifier
	Identities   int      `json:"identities"` // 0 without a gallery
	MaxImages    int      `json:"max_images"`
	MaxBytes     int64    `json:"max_bytes"`
	MaxPixels    int      `json:"max_pixels"`
	Version      string   `json:"version"`
}

func (s *Server) info(w http.ResponseWriter, _ *http.Request) {
	i := information{
		Student: s.model.Digest, Architecture: s.model.Config.Architecture, Features: s.model.Network.Features(),
		Classes: []string{}, MaxImages: s.config.Images, MaxBytes: s.config.MaxBody, MaxPixels: s.config.Pixels,
		Version: s.config.Version,
	}
	if s.classifier != nil {
		i.Classes = s.classifier.Classes
	}
	if s.gallery != nil {
		i.Identities = len(s.gallery.People())
	}
	write(w, http.StatusOK, i)
}

// failure is an answer that is no result.
type failure struct {
	code    int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Message }

func fail(w http.ResponseWriter, err error) {
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{http.StatusInternalServerError, "internal", err.Error()}
	}
	write(w, f.code, map[string]*failure{"error": f})
}

func write(w http.ResponseWriter, code int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer cannot be written"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n'))
}
