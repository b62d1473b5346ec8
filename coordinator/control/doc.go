// Package control is the coordinator's service: the broker that workers connect to, their leases, and the execution of
// what cluster.Decide decides.
//
//	broker, err := control.StartBroker(control.BrokerOptions{})   // workers get broker.URL() and broker.Users().WorkerAccess(...)
//	log, err := raftlog.Open(ctx, folder, raftlog.Options{})
//	service, err := control.New(config)                           // with broker and log
//	go service.Run(ctx)                                           // and wait for it at the end
//	err = service.Submit(ctx, submission)
//	for status := range service.Watch(ctx) { ... }
//
// One goroutine, that of Run, owns everything: it takes messages, calls of the API and ticks one after another, turns
// them into commands of the log, and after each change asks cluster.Decide. Others are nats.go's and the broker's own.
//
// # Leases
//
// A worker sends a heartbeat every sixth of Config.Timeout, but at least twice a second, and is lost when none has
// come for Timeout. When the broker sees its connection close, it has 300 ms to come back: the broker tells of
// that at once, also when the process was killed. It has none when another worker of its generation, which was connected with it for
// the ring's data, finds nobody at its address any more (wire.Heartbeat.Gone): then two have seen it end, the broker and its
// peer. A broker that fails closes no connection between workers, and a network that fails closes none at all. Who is given up
// wrongly is shut out by the next generation, and joins again. The coordinator's own pauses, such as a laptop's sleep, are not held
// against workers.
//
// While the service itself has no connection to the broker it does not count against workers either.
//
// # Leadership
//
// A coordinator alone, without Config.Leader, takes its workers with it: they are told to end when the service ends, and
// a later one waits for new ones. In a group the service runs on the leader, for as long as that leads. The next one
// finds the workers in the log and gives each a new lease; they have noticed nothing, since whoever leads listens to the
// same subjects. A leader pushes all orders again; what a worker does already it does not begin again.
//
// # Orders
//
// A worker's order follows from the state (cluster.State.Order). It is pushed when it changes, and again when a
// heartbeat shows that the worker has not heard it. So neither a lost message nor a repeated one does harm.
//
// # Progress
//
// Rank 0 reports every step. Reports go to watchers at once, and into the log only every Config.CommitInterval, so that
// disks are not on a step's path; what the log knows to be committed may lag so much behind.
package control
