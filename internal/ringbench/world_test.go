package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// system stands for the kernel: it knows which namespaces there are, and fails at a given command.
type system struct {
	there    []string
	commands []string
	failAt   int
}

func (s *system) run(argv ...string) (string, error) {
	command := strings.Join(argv, " ")
	s.commands = append(s.commands, command)
	if len(s.commands) == s.failAt {
		return "", errors.New("it fails")
	}
	switch {
	case strings.HasPrefix(command, "ip netns add "):
		s.there = append(s.there, argv[3])
	case strings.HasPrefix(command, "ip netns del "):
		i := slices.Index(s.there, argv[3])
		if i < 0 {
			return "", errors.New("no such namespace")
		}
		s.there = slices.Delete(s.there, i, i+1)
	case command == "ip netns list":
		return strings.Join(s.there, " (id: 3)\n") + "\n", nil
	}
	return "", nil
}

// Whatever fails while machines are made, nothing of them is left.
func TestNamespacesLeaveNothing(t *testing.T) {
	whole := &system{failAt: -1}
	n := &namespaces{prefix: "pupil-ring-1-", run: whole.run}
	if err := n.build(t.Context(), 3); err != nil || len(whole.there) != 4 {
		t.Fatalf("namespaces %v, error %v", whole.there, err)
	}
	limits := 0
	for _, c := range whole.commands {
		if strings.HasPrefix(c, "tc -n ") && strings.Contains(c, " tbf rate 1gbit ") {
			limits++
		}
	}
	if limits != 6 {
		t.Errorf("%d limits of the rate; 3 links have 6 ends", limits)
	}
	if got := strings.Join(n.on(1, []string{"a", "b"}), " "); got != "ip netns exec pupil-ring-1-1 a b" {
		t.Errorf("a program runs by %q", got)
	}
	if err := n.close(); err != nil || len(whole.there) > 0 {
		t.Errorf("left: %v, error %v", whole.there, err)
	}
	for at := 1; at <= len(whole.commands)-4; at++ {
		s := &system{failAt: at}
		n := &namespaces{prefix: "pupil-ring-1-", run: s.run}
		if err := n.build(t.Context(), 3); err == nil {
			t.Fatalf("command %d fails, and no error tells", at)
		}
		if err := n.close(); err != nil || len(s.there) > 0 {
			t.Errorf("command %d fails; left: %v, error %v", at, s.there, err)
		}
	}
}

// What an ended run has left is removed; what a living one has, or somebody else, is not.
func TestNamespacesSweep(t *testing.T) {
	s := &system{failAt: -1, there: []string{"pupil-ring-7-0", "pupil-ring-8-0", "pupil-ring-7-switch", "pupil-ring-x", "other"}}
	n := &namespaces{run: s.run}
	n.sweep(func(pid int) bool { return pid == 8 })
	if want := []string{"pupil-ring-8-0", "pupil-ring-x", "other"}; !slices.Equal(s.there, want) {
		t.Errorf("left: %v, want %v", s.there, want)
	}
}
