package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pupil/internal/version"
)

// NewRegistry returns a registry with what all programs tell: the build, the Go runtime and the process. program is the
// binary's name and kernel that of the kernels it computes with; "": none.
func NewRegistry(program, kernel string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "pupil_build_info", Help: "1, with the build in the labels.",
	}, []string{"program", "version", "goversion", "kernel"})
	build.WithLabelValues(program, version.String(), runtime.Version(), kernel).Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Handler answers with what a registry has, in Prometheus' formats.
func Handler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r})
}

// family makes descriptions of metrics that are read at each scrape.
func family(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}
