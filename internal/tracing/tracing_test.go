package tracing_test

import (
	"log/slog"
	"strings"
	"testing"

	"pupil/internal/tracing"
)

func TestValidate(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "",
		"http://127.0.0.1:4318":               "",
		"https://collector.example/v1/traces": "",
		"collector:4318":                      "give a collector's URL",
		"nats://collector:4318":               "give a collector's URL",
		"http://":                             "give a collector's URL",
		"http://me:secret@collector:4318":     "OTEL_EXPORTER_OTLP_HEADERS",
		"http://collector:4318/?key=secret":   "no query",
	} {
		err := tracing.Config{URL: url, Every: 1}.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", url, err, want)
		}
		if err != nil && want == "OTEL_EXPORTER_OTLP_HEADERS" && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error %v tells the secret", url, err)
		}
	}
	if err := (tracing.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "trace-every is 0") {
		t.Errorf("error %v", err)
	}
}

// TestNone: without a collector there is nothing, and it can be used all the same.
func TestNone(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tracer, err := tracing.Start(t.Context(), tracing.Config{Every: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil || tracer != nil || tracer.Traces(0) {
		t.Fatalf("tracer %v, error %v", tracer, err)
	}
	tracer.Step(tracing.Step{})
	tracer.Close()
}
