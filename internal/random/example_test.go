package random_test

import (
	"fmt"

	"pupil/internal/random"
)

// A value is a function of its key, so streams can be made anywhere, in any order, and give the same numbers.
func Example() {
	const seed, epoch = 7, 3
	again := random.New(random.PurposeTest, seed, epoch)
	random.New(random.PurposeTest, seed, epoch+1).Float64() // another stream changes nothing
	s := random.New(random.PurposeTest, seed, epoch)
	fmt.Println(s.IntN(1000) == again.IntN(1000), s.Perm(8))
	// Output: true [5 6 1 4 0 3 7 2]
}
