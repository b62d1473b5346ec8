package shelf_test

import (
	"testing"
	"unsafe"

	"pupil/allreduce/internal/shelf"
)

// What comes back is used again for what it has room for, and never more waits than was in use at one time.
func TestShelf(t *testing.T) {
	s := &shelf.Shelf{}
	a, b := s.Take(5000), s.Take(5000)
	s.Put(a)
	if c := s.Take(3000); unsafe.SliceData(c) != unsafe.SliceData(a) || len(c) != 3000 {
		t.Error("memory that has room was not used again")
	}
	s.Put(a)
	if c := s.Take(10); unsafe.SliceData(c) == unsafe.SliceData(a) {
		t.Error("a small message was given much memory")
	}
	s.Put(b)
	if c := s.Take(6000); len(c) != 6000 {
		t.Errorf("%d bytes instead of 6000", len(c))
	}
	if n := testing.AllocsPerRun(10, func() { s.Put(s.Take(5000)) }); n != 0 {
		t.Errorf("%v allocations for what waits on the shelf", n)
	}
	s = &shelf.Shelf{}
	m := s.Take(64)
	s.Put(m)
	s.Put(make([]byte, 64)) // never taken
	if x, y := s.Take(64), s.Take(64); unsafe.SliceData(x) != unsafe.SliceData(m) || unsafe.SliceData(y) == unsafe.SliceData(m) {
		t.Error("the shelf holds more than was in use")
	}
	s.Close()
	s.Put(m)
	if x := s.Take(64); unsafe.SliceData(x) == unsafe.SliceData(m) {
		t.Error("a closed shelf holds memory")
	}
}
