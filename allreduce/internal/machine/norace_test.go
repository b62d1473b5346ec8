//go:build !race

package machine_test

// every tells which schedules run: all of them.
const every = 1
