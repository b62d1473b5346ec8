package main

import (
	"reflect"
	"strings"
	"testing"

	"pupil/coordinator/control"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/serve"
)

// TestEmbedded: where the broker within a coordinator is follows from where the coordinator is.
func TestEmbedded(t *testing.T) {
	three := []raftlog.Peer{{ID: "a", Address: "a.example:7071"}, {ID: "b", Address: "b.example:7071"}, {ID: "c", Address: "10.0.0.3:7071"}}
	type place struct {
		host, advertise string
		port            int
		routes          *control.Routes
	}
	for name, x := range map[string]struct {
		change func(*serve.Config, *embeddedFlags)
		want   place
		wrong  string
	}{
		"one on this machine": {func(*serve.Config, *embeddedFlags) {}, place{host: "127.0.0.1", port: 4222}, ""},
		"three": {
			func(c *serve.Config, _ *embeddedFlags) {
				c.Listen, c.Raft, c.Peers = "10.0.0.1:7070", "10.0.0.1:7071", three
			},
			place{"10.0.0.1", "", 4222, &control.Routes{
				Host: "10.0.0.1", Port: 6222, Advertise: "a.example:6222", Peers: []string{"b.example:6222", "10.0.0.3:6222"},
			}},
			"",
		},
		"three, on all addresses, with a port": {
			func(c *serve.Config, f *embeddedFlags) {
				c.Listen, c.Raft, c.Peers, f.routes = "0.0.0.0:7070", "0.0.0.0:7071", three, "[::]:7222"
			},
			place{"0.0.0.0", "a.example:4222", 4222, &control.Routes{
				Host: "::", Port: 7222, Advertise: "a.example:7222", Peers: []string{"b.example:7222", "10.0.0.3:7222"},
			}},
			"",
		},
		"one for other machines": { // its port for coordinators is for none
			func(c *serve.Config, _ *embeddedFlags) { c.Listen = "0.0.0.0:7070" }, place{host: "0.0.0.0", port: 4222}, "",
		},
		"one that joins": {
			func(c *serve.Config, f *embeddedFlags) {
				c.Join, c.Listen, c.Raft, c.Advertise, f.peers = true, "0.0.0.0:7070", "0.0.0.0:7071", "d.example:7071", "a.example:6222, d.example:6222"
			},
			place{"0.0.0.0", "d.example:4222", 4222, &control.Routes{Host: "0.0.0.0", Port: 6222, Advertise: "d.example:6222", Peers: []string{"a.example:6222"}}},
			"",
		},
		"one that others will join": {
			func(_ *serve.Config, f *embeddedFlags) {
				f.routes, f.listen, f.advertise = "127.0.0.1:1", "127.0.0.1:2", "n.example:3"
			},
			place{"127.0.0.1", "n.example:3", 2, &control.Routes{Host: "127.0.0.1", Port: 1, Advertise: "127.0.0.1:1"}},
			"",
		},
		"one that joins nobody": {func(c *serve.Config, _ *embeddedFlags) { c.Join = true }, place{}, "--nats-peers"},
		"several on one host": {
			func(c *serve.Config, _ *embeddedFlags) {
				c.Peers = []raftlog.Peer{{ID: "a", Address: "127.0.0.1:1"}, {ID: "b", Address: "127.0.0.1:2"}, {ID: "c", Address: "127.0.0.1:3"}}
			}, place{}, "several coordinators are on the host 127.0.0.1",
		},
		"plain": {func(_ *serve.Config, f *embeddedFlags) { f.listen = "10.0.0.1:4222" }, place{}, "--nats-listen: the broker would listen on 10.0.0.1:4222 without TLS"},
		"plain routes": {
			func(_ *serve.Config, f *embeddedFlags) { f.routes = "10.0.0.1:6222" },
			place{},
			"--nats-routes: the broker would listen on 10.0.0.1:6222 without TLS",
		},
		"no port":      {func(_ *serve.Config, f *embeddedFlags) { f.listen = "127.0.0.1" }, place{}, "--nats-listen"},
		"no address":   {func(_ *serve.Config, f *embeddedFlags) { f.advertise = "0.0.0.0:4222" }, place{}, "--nats-advertise"},
		"no peer":      {func(_ *serve.Config, f *embeddedFlags) { f.peers = "a.example" }, place{}, "--nats-peers"},
		"no peer port": {func(_ *serve.Config, f *embeddedFlags) { f.peers = "a.example:0" }, place{}, "--nats-peers"},
	} {
		t.Run(name, func(t *testing.T) {
			c, f := serve.DefaultConfig(), embeddedFlags{}
			c.ID = "a"
			x.change(&c, &f)
			c.Insecure = !strings.HasPrefix(name, "plain")
			o, err := f.options(c)
			if x.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), x.wrong) {
					t.Errorf("error %v; want one with %q", err, x.wrong)
				}
				return
			}
			if got := (place{o.Host, o.Advertise, o.Port, o.Routes}); err != nil || !reflect.DeepEqual(got, x.want) || o.Name != "a" {
				t.Errorf("%+v (routes %+v), error %v; want %+v (routes %+v)", got, got.routes, err, x.want, x.want.routes)
			}
		})
	}
}
