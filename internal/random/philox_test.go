package random

import "testing"

// The known answers of the Random123 distribution (kat_vectors, philox4x32, 10 rounds).
func TestPhiloxKnownAnswers(t *testing.T) {
	const ones = 0xffffffff
	for _, c := range []struct {
		name    string
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{
			"zeros",
			[4]uint32{},
			[2]uint32{},
			[4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
		},
		{
			"ones",
			[4]uint32{ones, ones, ones, ones},
			[2]uint32{ones, ones},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			"pi",
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := philox(c.counter, c.key); got != c.want {
			t.Errorf("%s: got %08x, want %08x", c.name, got, c.want)
		}
	}
}

// A stream's words are the blocks of counters 0, 1, ... in the order of Philox's output.
func TestStreamCountsBlocks(t *testing.T) {
	s := New(PurposeTest, 1)
	key := s.key
	for block := range uint32(3) {
		for i, want := range philox([4]uint32{block}, key) {
			if got := s.Uint32(); got != want {
				t.Fatalf("block %d, word %d: got %08x, want %08x", block, i, got, want)
			}
		}
	}
}
