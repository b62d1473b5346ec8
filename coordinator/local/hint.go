package local

import (
	"cmp"
	"strconv"
	"strings"

	"pupil/coordinator/wire"
	"pupil/internal/tracing"
)

// hint is the command that goes on with the run.
func (e *execution) hint() string {
	c := e.config
	words := []string{
		quote(c.Program), "run", quote(c.JobFile), "--workers", strconv.Itoa(c.Workers), "--threads", strconv.Itoa(c.Threads),
		"--storage", quote(e.place.where),
	}
	if p := e.dataPlane(); p != wire.LocalPlane {
		words = append(words, "--data-plane", string(p))
	}
	if c.MinWorkers > 1 {
		words = append(words, "--min-workers", strconv.Itoa(c.MinWorkers))
	}
	if c.WorkerBinary != "" {
		words = append(words, "--worker-binary", quote(c.WorkerBinary))
	}
	for _, w := range append(c.teacherCache(), c.tracing()...) {
		words = append(words, quote(w))
	}
	for _, o := range c.Overrides {
		words = append(words, "--set", quote(o))
	}
	return strings.Join(append(words, "--resume"), " ")
}

// dataPlane is the way of the workers' sums.
func (e *execution) dataPlane() wire.DataPlane { return cmp.Or(e.config.DataPlane, wire.LocalPlane) }

// teacherCache are the flags of the cache of the teacher's outputs, the same for a run and for its workers.
func (c Config) teacherCache() (words []string) {
	if c.TeacherCache != "" {
		words = append(words, "--teacher-cache", c.TeacherCache)
		if c.TeacherCacheSize != "" {
			words = append(words, "--teacher-cache-size", c.TeacherCacheSize)
		}
	}
	return words
}

// tracing are the flags of traces, the same for a run and for its workers.
func (c Config) tracing() (words []string) {
	if c.TraceURL != "" {
		words = append(words, "--trace-otlp", c.TraceURL)
	}
	if c.TraceEvery > 0 && c.TraceEvery != tracing.DefaultEvery {
		words = append(words, "--trace-every", strconv.Itoa(c.TraceEvery))
	}
	return words
}

// quote makes a word safe for a shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./:=,@%+", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
