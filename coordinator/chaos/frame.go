package chaos

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// unadvertised is a line of NATS's client protocol, but for where else a server says that it can be reached: a client would go
// there, past the proxy.
func unadvertised(line []byte) []byte {
	rest, is := bytes.CutPrefix(line, []byte("INFO "))
	if !is {
		return line
	}
	var info map[string]json.RawMessage
	if json.Unmarshal(rest, &info) != nil {
		return line
	}
	delete(info, "connect_urls")
	out, err := json.Marshal(info)
	if err != nil {
		return line
	}
	return append(append([]byte("INFO "), out...), "\r\n"...)
}

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
