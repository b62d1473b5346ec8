package kernel

import (
	"fmt"
	"os"
	"strings"
)

// The implementations.
const (
	generic = "generic"
	avx2    = "avx2"
	avx512  = "avx512"
	auto    = "auto"
)

// chosen is the implementation in use. It is written before the first kernel runs, see Select.
var chosen = initial()

// initial obeys PUPIL_KERNEL where it can. A main that calls Select with the same value tells the user where it cannot.
func initial() string {
	if name, err := resolve(os.Getenv("PUPIL_KERNEL")); err == nil {
		return name
	}
	return implementations()[0]
}

// Name returns the implementation in use, "generic", "avx2" or "avx512".
func Name() string { return chosen }

// Class names the results of the implementation in use: those of one class give the same bits, those of different classes
// differ in the last ones. "avx2" and "avx512" are of the class "avx2". It is what is recorded beside results, and may be
// given to Select.
func Class() string {
	if chosen == avx512 {
		return avx2
	}
	return chosen
}

// Select chooses the implementation by name. "auto" or "" chooses the best one that the CPU can run, as a start
// without Select does; the environment variable PUPIL_KERNEL is obeyed at start in the same way. Select is for mains
// and tests: it must not run beside a kernel.
func Select(name string) error {
	name, err := resolve(name)
	if err == nil {
		chosen = name
	}
	return err
}

func resolve(name string) (string, error) {
	all := implementations()
	if name == "" || name == auto {
		return all[0], nil
	}
	for _, n := range all {
		if n == name {
			return n, nil
		}
	}
	if why, ok := whyNot[name]; ok {
		return "", fmt.Errorf("kernel %q cannot run here: %s; choose one of auto, %s", name, why, strings.Join(all, ", "))
	}
	return "", fmt.Errorf("unknown kernel %q; choose one of auto, %s", name, strings.Join(all, ", "))
}
