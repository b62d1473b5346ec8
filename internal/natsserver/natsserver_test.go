package natsserver_test

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"pupil/internal/natsserver"
)

func options(port int) *server.Options {
	return &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true}
}

func TestPortInUse(t *testing.T) {
	first, err := natsserver.Start(options(server.RANDOM_PORT), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer natsserver.Stop(first)
	port := first.Addr().(*net.TCPAddr).Port
	second, err := natsserver.Start(options(port), nil)
	if err == nil {
		natsserver.Stop(second)
		t.Fatal("two servers have one port")
	}
	if !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v", err)
	}
	routes := options(server.RANDOM_PORT) // which are opened after the port for clients
	routes.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port}
	third, err := natsserver.Start(routes, nil)
	if err == nil {
		natsserver.Stop(third)
		t.Fatal("a server's routes have the port of another")
	}
	if !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("routes: error %v", err)
	}
}

func Example() {
	s, err := natsserver.Start(options(server.RANDOM_PORT), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer natsserver.Stop(s)
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	fmt.Println(nc.Status())
	// Output: CONNECTED
}
