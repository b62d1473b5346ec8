package frame_test

import (
	"testing"

	"pupil/allreduce/internal/frame"
)

// What is lent twice is given back twice before it is lent to another.
func TestPoolHolders(t *testing.T) {
	p := &frame.Pool{}
	freed := 0
	p.Freed = func([]byte) { freed++ }
	a := p.Get(1000)
	if a.Keep() != a || len(a.Bytes) != 1000 {
		t.Fatalf("%d bytes", len(a.Bytes))
	}
	a.Release()
	if b := p.Get(1000); b == a || freed != 0 {
		t.Error("memory that is held was lent again")
	}
	a.Release()
	if b := p.Get(990); b != a || freed != 1 || len(b.Bytes) != 990 {
		t.Error("memory that nobody holds was not lent again")
	}
	if s := p.Stats(); s.Lent != 2 || s.Misused != 0 || s.IdleBytes != 0 {
		t.Errorf("%+v", s)
	}
}

// A release too many is counted, and changes nothing.
func TestPoolMisuse(t *testing.T) {
	p := &frame.Pool{}
	a := p.Get(8)
	a.Release()
	a.Release()
	if s := p.Stats(); s.Misused != 1 || s.Lent != 0 || s.LentBytes != 0 {
		t.Errorf("%+v", s)
	}
}

// Foreign memory goes home, and a closed pool keeps nothing.
func TestPoolAdoptClose(t *testing.T) {
	p := &frame.Pool{}
	var home []byte
	m := make([]byte, 5)
	p.Adopt(m, func(b []byte) { home = b }).Release()
	if len(home) != 5 || &home[0] != &m[0] {
		t.Errorf("home got %d bytes", len(home))
	}
	p.Adopt(m, nil).Release()
	a := p.Get(100)
	p.Get(50).Release()
	if s := p.Stats(); s.IdleBytes == 0 {
		t.Errorf("%+v", s)
	}
	p.Close()
	a.Release()
	if s := p.Stats(); s != (frame.PoolStats{}) {
		t.Errorf("%+v after Close", s)
	}
}

// What waits is bounded by what was lent at one time.
func TestPoolBound(t *testing.T) {
	p := &frame.Pool{}
	for n := 1; n < 1<<16; n += 777 {
		p.Get(n).Release()
	}
	if s := p.Stats(); s.IdleBytes > 80_000 {
		t.Errorf("%d bytes wait; never more than %d were lent", s.IdleBytes, 1<<16)
	}
}

// Nobody counts the memory of no pool.
func TestNoPool(t *testing.T) {
	var p *frame.Pool
	a := p.Get(9)
	a.Keep().Release()
	a.Release()
	p.Adopt(nil, nil).Release()
	if f := p.New(frame.Header{Kind: frame.Query}, 3); len(f.Payload()) != 3 {
		t.Errorf("%d bytes", len(f.Payload()))
	}
}
