package metrics

import (
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/prometheus/client_golang/prometheus"
)

// Certificates tells when certificates end. It reads the files, which it knows by what they are for, at each scrape, so that
// new ones show at once.
func Certificates(files map[string]string) prometheus.Collector {
	return certificates{files, family("pupil_certificate_expiry_timestamp_seconds",
		"When the first certificate of a file ends, in Unix time.", "file")}
}

type certificates struct {
	files map[string]string
	desc  *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c certificates) Describe(to chan<- *prometheus.Desc) { to <- c.desc }

// Collect implements prometheus.Collector. A file that cannot be read is not told of; the alert rules ask for absent ones.
func (c certificates) Collect(to chan<- prometheus.Metric) {
	for name, file := range c.files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				to <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(cert.NotAfter.Unix()), name)
				break
			}
		}
	}
}
