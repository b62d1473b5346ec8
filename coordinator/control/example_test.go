package control_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/job"
	"pupil/coordinator/raftlog"
	"pupil/worker/agent"
)

// A coordinator and two workers in one process.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// digits is finished after step 10
}

func example() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	folder, err := os.MkdirTemp("", "coordinator")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	broker, err := control.StartBroker(control.BrokerOptions{})
	if err != nil {
		return err
	}
	defer broker.Close()
	log, err := raftlog.Open(ctx, folder, raftlog.Options{})
	if err != nil {
		return err
	}
	defer log.Close()

	c := control.DefaultConfig()
	c.Broker, c.Log, c.Version = broker, log, "v1"
	service, err := control.New(c)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- service.Run(ctx) }()
	err = service.Submit(ctx, cluster.Submission{
		Run: "digits", Spec: &job.Spec{Name: "digits", Lanes: lanes}, Storage: "file:///runs/digits",
		MinWorkers: 2, Restore: -1,
	})
	if err != nil {
		return err
	}

	worked := make(chan error, 2)
	for _, id := range []string{"w0", "w1"} {
		as := broker.Users().WorkerAccess(id, "*", time.Time{}, "") // for all sessions of this worker
		go func() {
			worked <- agent.Run(ctx, agent.Config{
				URL: broker.URL(), User: as.User, Password: as.Password, ID: id, Threads: 1, Version: "v1", Kernel: "generic",
			}, &trainer{steps: 10})
		}()
	}
	for st := range service.Watch(ctx) {
		if st.Phase.Over() {
			fmt.Println(st.Run, "is", st.Phase, "after step", st.Step)
			break
		}
	}
	cancel() // of the workers too
	<-worked
	<-worked
	return <-served
}
