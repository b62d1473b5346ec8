package main

import (
	"log/slog"
	"strings"
	"testing"
)

func TestNoAddressOfACoordinator(t *testing.T) {
	for _, address := range []string{"127.0.0.1:7070", "localhost", "nats://127.0.0.1:4222", "http://"} {
		f := clusterFlags{addresses: []string{address}, token: "0123456789abcdef"}
		_, err := f.broker(t.Context(), nil, slog.New(slog.DiscardHandler), "w", "s")
		if err == nil || !strings.Contains(err.Error(), "no address of a coordinator") {
			t.Errorf("%s: got %v", address, err)
		}
	}
}
