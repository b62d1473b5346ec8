package cluster

import (
	"encoding/hex"
	"slices"
	"time"
)

// Role says what a token may do. A submitter may all that a viewer may, an admin everything.
type Role string

// The roles.
const (
	Viewer    Role = "viewer"    // look
	Submitter Role = "submitter" // and submit and cancel jobs
	Admin     Role = "admin"     // and change coordinators and tokens
	Joiner    Role = "worker"    // learn where the broker is, and join; nothing else
)

// Roles are all there are.
func Roles() []Role { return []Role{Viewer, Submitter, Admin, Joiner} }

// May says whether a role includes another one.
func (r Role) May(other Role) bool {
	switch r {
	case Admin:
		return true
	case Submitter:
		return other == Submitter || other == Viewer
	}
	return r == other
}

// Token is what the state keeps of a token of the API: not the token itself.
type Token struct {
	Name    string    `json:"name"` // unique
	Role    Role      `json:"role"`
	Hash    string    `json:"hash"` // SHA-256 of the token, hex; a token is 256 random bits, which nobody finds by trying
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"` // zero: never
}

// maxTokens bounds the state.
const maxTokens = 1024

// RemovedToken is what the state keeps for a while of a token with which workers may have joined, so that nobody lets these in.
type RemovedToken struct {
	Hash string    `json:"hash"`
	At   time.Time `json:"at"`
}

// JoinLife is how long, at most, a worker can stay with what a token has given it. The state knows a token that is removed for as
// long.
const JoinLife = 7 * 24 * time.Hour

// TokenAdded makes a token known.
type TokenAdded struct {
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

func (TokenAdded) kind() string { return "token_added" }

func (c TokenAdded) apply(s *State, at time.Time) error {
	hash, err := hex.DecodeString(c.Hash)
	switch {
	case c.Name == "" || len(c.Name) > 128:
		return refuse(ErrRefused, "a token's name has %d bytes; it must have 1 to 128", len(c.Name))
	case !slices.Contains(Roles(), c.Role):
		return refuse(ErrRefused, "%.40q is no role; there are %v", string(c.Role), Roles())
	case err != nil || len(hash) != 32:
		return refuse(ErrRefused, "the token %s has no SHA-256", c.Name)
	case slices.ContainsFunc(s.Tokens, func(t Token) bool { return t.Name == c.Name }):
		return refuse(ErrRefused, "there is a token %s already; remove it first, or choose another name", c.Name)
	case len(s.Tokens) >= maxTokens:
		return refuse(ErrRefused, "there are %d tokens already; remove some", maxTokens)
	}
	// Others may hold the slice: it is replaced, never changed.
	s.Tokens = append(slices.Clone(s.Tokens), Token{c.Name, c.Role, c.Hash, at, c.Expires})
	s.event(at, "", "", "token %s (%s) was added", c.Name, c.Role)
	return nil
}

// TokenRemoved makes a token void.
type TokenRemoved struct {
	Name string `json:"name"`
}

func (TokenRemoved) kind() string { return "token_removed" }

func (c TokenRemoved) apply(s *State, at time.Time) error {
	i := slices.IndexFunc(s.Tokens, func(t Token) bool { return t.Name == c.Name })
	if i < 0 {
		return refuse(ErrUnknown, "there is no token %s", c.Name)
	}
	if t := s.Tokens[i]; t.Role.May(Joiner) {
		recent := []RemovedToken{{t.Hash, at}}
		for _, r := range s.Removed {
			if at.Sub(r.At) < JoinLife+time.Hour && len(recent) < maxTokens { // clocks differ
				recent = append(recent, r)
			}
		}
		s.Removed = recent
	}
	s.Tokens = slices.Delete(slices.Clone(s.Tokens), i, i+1)
	s.event(at, "", "", "token %s was removed", c.Name)
	return nil
}
