package main

import (
	"github.com/spf13/cobra"

	"pupil/internal/tracing"
)

// addTracing adds the flags of traces.
func addTracing(cmd *cobra.Command, c *tracing.Config) {
	f := cmd.Flags()
	f.StringVar(&c.URL, "trace-otlp", "", "URL of an OpenTelemetry collector for traces of steps, OTLP over HTTP, as http://10.0.0.9:4318\n"+
		"(default: what OTEL_EXPORTER_OTLP_ENDPOINT says, else none)")
	f.IntVar(&c.Every, "trace-every", tracing.DefaultEvery, "one of so many steps is traced")
}
