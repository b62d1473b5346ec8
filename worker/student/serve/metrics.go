package serve

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what /metrics tells.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	images   prometheus.Counter
	batch    prometheus.Histogram
	active   prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pupil_serve_requests_total", Help: "Requests by path and status.",
		}, []string{"path", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pupil_serve_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"path"}),
		images: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pupil_serve_images_total", Help: "Images that were answered.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pupil_serve_batch_images", Help: "Images of a batch.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128},
		}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pupil_serve_requests_active", Help: "Requests that are being answered.",
		}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.images, m.batch, m.active, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}
