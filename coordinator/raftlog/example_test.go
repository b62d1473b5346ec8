package raftlog_test

import (
	"context"
	"fmt"
	"os"

	"pupil/coordinator/cluster"
	"pupil/coordinator/raftlog"
)

func Example() {
	dir, err := os.MkdirTemp("", "coordinator")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	for range 2 { // the second time finds what the first has left
		log, err := raftlog.Open(ctx, dir, raftlog.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		err = log.Apply(ctx, cluster.Join{Worker: fmt.Sprintf("w%d", len(log.State().Workers)), Session: "5e55"})
		fmt.Println(len(log.State().Workers), err, log.Close())
	}
	// Output:
	// 1 <nil> <nil>
	// 2 <nil> <nil>
}
