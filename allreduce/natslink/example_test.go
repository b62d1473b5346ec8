package natslink_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/natslink"
)

// Two workers, each with a connection of its own, sum their gradients.
func Example() {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Start()
	defer s.Shutdown()

	worker := func(ctx context.Context, rank int) error {
		nc, err := nats.Connect(s.ClientURL(), nats.ReconnectBufSize(-1), nats.ReconnectWait(100*time.Millisecond),
			nats.MaxReconnects(-1))
		if err != nil {
			return err
		}
		defer nc.Close()
		link, err := natslink.New(ctx, nc, natslink.Config{Prefix: "pupil.ring.faces", Generation: 1, Rank: rank, Size: 2})
		if err != nil {
			return err
		}
		ring, err := allreduce.New(link, allreduce.Config{Job: "faces", Generation: 1, Rank: rank, Size: 2})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(ctx)
		ran := make(chan error, 1)
		go func() { ran <- ring.Run(ctx) }()

		gradients := []int32{100, int32(rank)}
		err = ring.ReduceInt32(ctx, 0, 0, gradients)
		if err == nil {
			err = ring.Commit(ctx, 0)
		}
		fmt.Println(gradients, err)
		stop()
		if err := <-ran; err != nil {
			return err
		}
		return link.Close()
	}

	var group sync.WaitGroup
	for rank := range 2 {
		group.Go(func() {
			if err := worker(context.Background(), rank); err != nil {
				fmt.Println(err)
			}
		})
	}
	group.Wait()
	// Unordered output:
	// [200 1] <nil>
	// [200 1] <nil>
}
