// Package tracing sends steps of a training as OpenTelemetry traces, over OTLP/HTTP.
//
// A traced step is one trace: its ID, and that of its first span, follow from run and step, so that what all processes of a
// cluster send of a step meets there without a word between them. The first span, "step", comes from rank 0; below it each worker
// has one, with its lanes and their phases below. Every so many steps one is traced; the others, and programs without a collector,
// cost nothing. Nothing waits for the collector: what it does not take in time is dropped, and told in the log.
//
// Where spans go, and what else the exporter heeds (headers, certificates, timeouts, compression), can be said by
// OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_*.
package tracing
