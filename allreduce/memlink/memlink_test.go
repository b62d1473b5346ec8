package memlink_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"pupil/allreduce"
	"pupil/allreduce/linktest"
	"pupil/allreduce/memlink"
)

func open(t testing.TB, size int) []allreduce.Link {
	var links []allreduce.Link
	for _, l := range memlink.New(size) {
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		links = append(links, l)
	}
	return links
}

func TestLink(t *testing.T) { linktest.Run(t, open) }

// What exceeds the limit is lost, and Receive says so.
func TestPending(t *testing.T) {
	links := memlink.NewLimited(2, allreduce.Limits{Message: 10, Pending: 15})
	for range 3 {
		if err := links[0].Send(1, bytes.Repeat([]byte("x"), 8)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := links[1].Receive(t.Context()); err == nil || !strings.Contains(err.Error(), "2 messages were dropped") {
		t.Errorf("error %v", err)
	}
	if got, err := links[1].Receive(t.Context()); err != nil || len(got) != 8 {
		t.Errorf("received %q, error %v", got, err)
	}
}

// A fault decides what arrives.
func ExampleLink_SetFault() {
	links := memlink.New(2)
	links[1].SetFault(func(_, _ int, message []byte) [][]byte {
		if string(message) == "lost" {
			return nil
		}
		return [][]byte{message, bytes.ToUpper(message)}
	})
	for _, m := range []string{"lost", "found"} {
		if err := links[0].Send(1, []byte(m)); err != nil {
			fmt.Println(err)
		}
	}
	for range 2 {
		m, err := links[1].Receive(context.Background())
		fmt.Println(string(m), err)
	}
	// Output:
	// found <nil>
	// FOUND <nil>
}
