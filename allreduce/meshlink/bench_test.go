package meshlink_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/natslink"
	"pupil/internal/natsserver"
)

// through connects ranks that have a connection each, through one broker, as a coordinator has it on one machine.
func through(b testing.TB, size int) (links []allreduce.Link) {
	b.Helper()
	s, err := natsserver.Start(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: 8 << 20, MaxPending: 1 << 30,
		WriteDeadline: 30 * time.Second,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { natsserver.Stop(s) })
	for rank := range size {
		nc, err := nats.Connect(s.ClientURL(), nats.ReconnectBufSize(-1))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(nc.Close)
		l, err := natslink.New(b.Context(), nc, natslink.Config{Prefix: "pupil.ring.test", Generation: 3, Rank: rank, Size: size})
		if err != nil {
			b.Fatal(err)
		}
		links = append(links, l)
	}
	return links
}

// BenchmarkReduceInt32 sums a vector of int32 over ranks of one process, with a commit after each sum, over a broker and over
// a mesh. Processor time is that of all ranks and servers.
func BenchmarkReduceInt32(b *testing.B) {
	for _, size := range []int{2, 4} {
		for _, megabytes := range []int{1, 4, 14} {
			for _, plane := range []struct {
				name string
				open linktest.Open
			}{{"broker", through}, {"mesh", open}, {"plain", openPlain}} {
				b.Run(fmt.Sprintf("N=%d/%dMB/%s", size, megabytes, plane.name), func(b *testing.B) {
					linktest.Benchmark(b, plane.open(b, size), megabytes)
				})
			}
		}
	}
}
