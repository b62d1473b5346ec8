// Package meshlink carries a ring's messages between NATS servers that the workers embed. A message goes straight to the
// server of the rank that it is for, over a connection to it, and its owner subscribes within the process: no broker is on
// its way. As over natslink, NATS core delivers at most once, and the ring asks again for what is lost. Messages are published
// and taken by a small client of NATS's protocol, which copies less than nats.go.
//
//	s, err := meshlink.Listen(meshlink.ServerConfig{Listen: "10.0.0.3:4223"}) // one for a worker's life
//	// s.Addr() and s.PublicKey() go to the coordinator; what it issues for a generation comes back
//	link, err := meshlink.New(ctx, s, config)                                  // one for a generation
//
// # What it secures
//
// All connections between workers are TLS 1.3, and both sides show a certificate that an authority of this generation alone
// has issued to the other's public key, for the name of its rank. Whoever connects also needs the generation's password,
// and may then publish to one subject, that of the server's owner in this generation, and subscribe to nothing. Private
// keys never leave their process. With ServerConfig.Plain there is no TLS: then server and link keep to loopback addresses, and the
// password and the permissions are what holds others of the same machine off. Who can change what the coordinator tells a worker can take part; the connection to the
// coordinator is what to protect.
//
// # Faults
//
// New returns when this rank is connected to all others, some milliseconds after the last of them has called it: who comes first waits
// at the others' doors, for 200 ms before it knocks again. An error names those that it is not, with the reason. A connection
// that breaks later is opened anew in the background, which tells whether the rank's process has ended (Config.Gone), and Send to that rank is an error for as long. A rank that stands
// still holds up a Send to it for Config.Timeout / 4 at most, and Interrupt ends that at once.
package meshlink
