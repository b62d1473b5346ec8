package control

import (
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Mark tells, in a worker's user, which token has opened it: a code of the token's SHA-256 in hex, which does not tell that.
func (c Credentials) Mark(hash string) string { return keyed(c.Worker, "token "+hash)[:markLength] }

const markLength = 32 // of a code in hex

// tokenMark is the mark in a worker's user; "" when it has none.
func tokenMark(user string) string {
	if parts := strings.Split(user, " "); len(parts) == 5 && parts[0] == kindWorker {
		return parts[4]
	}
	return ""
}

// denied says whether a user has the mark of a token that opens nothing any more.
func (g *guard) denied(user string) bool {
	denies, mark := g.denies.Load(), tokenMark(user)
	return denies != nil && mark != "" && (*denies)(mark)
}

// Deny lets nobody in from now on whose token's mark is denied, and ends the connections of those who are there. denies may be
// called from several goroutines.
func (b *Broker) Deny(denies func(mark string) bool) {
	b.guard.denies.Store(&denies)
	const page = 1024 // connections
	for from := 0; ; from += page {
		all, err := b.server.Connz(&server.ConnzOptions{Username: true, Offset: from, Limit: page, Sort: server.ByCid})
		if err != nil {
			return // it is being closed
		}
		for _, c := range all.Conns {
			if b.guard.denied(c.AuthorizedUser) {
				_ = b.server.DisconnectClientByID(c.Cid) // it may have gone
			}
		}
		if len(all.Conns) < page {
			return
		}
	}
}
