// Package metrics is what the programs tell Prometheus: the registries of worker and coordinator, the account of a worker's
// time, and a port of its own for them.
//
//	m := metrics.NewWorker(kernel.Name())
//	close, err := metrics.Endpoint{Listen: "127.0.0.1:9090", Ready: m.Ready}.Start(m.Registry)
//
// Names begin with pupil_ and follow Prometheus' conventions: base units, _total for what only rises. Labels have few values:
// a worker tells of the run that it carries, a coordinator of those that are not over and of the last that are.
package metrics
