// Package ringsim runs whole rings of the step machine of package machine, the code that runs in a worker, over links that
// exist in numbers alone, under a virtual clock: how long a step takes with hundreds of workers, with a slow link or a slow
// worker. Nothing in it is random, so that a simulation has one outcome. Every sum is compared with the exact one.
//
//	r, err := ringsim.Run(ringsim.Config{Ranks: 256, Plane: ringsim.Mesh, Rate: 1.25e9, Latency: 50 * time.Microsecond, ...})
//
// # The network
//
// A host has one network card, which sends Rate bytes a second and receives as many at the same time. With Mesh a message
// goes from card to card; with Broker it is received as a whole by the card of the broker's host, which then sends it on: all
// messages of all workers share that card. Cards keep the order of what comes to them. What has left a card is Latency on its
// way. A message counts its header and its payload; what NATS, TLS, TCP, IP and Ethernet add (3 to 6% for chunks of 16 KB and
// more) is not in it, nor is the time of processors: the times are those that links allow.
//
// Time gives the same by formula, see there.
package ringsim
