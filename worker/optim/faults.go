package optim

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// faults gathers what is wrong in a section of the job.
type faults struct {
	section string
	list    []error
}

func (f *faults) add(key, what, advice string) {
	f.list = append(f.list, fmt.Errorf("%s.%s %s; %s", f.section, key, what, advice))
}

func (f *faults) err() error { return errors.Join(f.list...) }

// number adds a fault unless ok, which must be false for NaN.
func (f *faults) number(ok bool, key string, v float64, bounds string) {
	if !ok {
		f.add(key, fmt.Sprintf("is %g", v), "give a number "+bounds)
	}
}

func (f *faults) atLeast0(key string, v float64) {
	f.number(v >= 0 && v <= math.MaxFloat64, key, v, "of 0 or more")
}

func (f *faults) positive(key string, v float64) {
	f.number(v > 0 && v <= math.MaxFloat64, key, v, "above 0")
}

func (f *faults) below1(key string, v float64) {
	f.number(v >= 0 && v < 1, key, v, "from 0 to below 1")
}

func (f *faults) share(key string, v float64) { f.number(v >= 0 && v <= 1, key, v, "from 0 to 1") }

func (f *faults) oneOf(key, v string, known []string) {
	if !slices.Contains(known, v) {
		f.add(key, fmt.Sprintf("is %q", v), "give one of "+strings.Join(known, ", "))
	}
}
