//go:build race

package machine_test

// every tells which schedules run: every tenth under the race detector, which costs ten times the time and has nothing
// to find in machines that run in one goroutine.
const every = 10
