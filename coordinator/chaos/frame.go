package chaos

import (
	"bytes"
	"strconv"
)

// tail is what follows a line of NATS's client protocol: the payload's bytes with the line's end behind them, and whether
// both are a message, which the protocol may lose (at most once), rather than a word of the connection's own.
func tail(line []byte) (size int, message bool) {
	words := bytes.Fields(line)
	if len(words) < 3 {
		return 0, false
	}
	switch string(bytes.ToUpper(words[0])) {
	case "PUB", "HPUB", "MSG", "HMSG":
	default:
		return 0, false
	}
	n, err := strconv.Atoi(string(words[len(words)-1]))
	if err != nil || n < 0 {
		return 0, false
	}
	return n + len("\r\n"), true
}
