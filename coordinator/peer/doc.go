// Package peer carries the connections among coordinators: one port for all that they say to each other, with TLS when
// there are certificates, and open only to those that know the cluster's token.
//
//	port, err := peer.Listen(peer.Config{Listen: "10.0.0.1:7071", Token: token, TLS: tls})
//	raft, web := port.Service(peer.Raft), port.Service(peer.Web)   // each is a net.Listener that can also dial
//	defer port.Close()
//
// # Handshake
//
// Who dials sends 4 bytes "PUP1", one byte that names the service, and 16 random bytes a. Who listens answers with 16
// random bytes b and HMAC-SHA256(token, "listen" service a b). The one that dials checks that, and sends HMAC-SHA256(token,
// "dial" service a b), which is checked in turn. Then the connection is the service's. The token itself is never sent, and
// a recorded handshake is of no use later. What follows is not encrypted without TLS: beyond one machine use it.
package peer
