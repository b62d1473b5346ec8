package job

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a job.
type Fault struct {
	Source  string // the file's name, or "--set" for an override
	Line    int    // from 1; 0: the fault has no place, as those of overrides
	Column  int    // from 1
	Key     string // path of the key, as in loss.0.prior.rate; "": the whole document
	Message string // what is wrong, the bound, and what to do
}

// String returns the fault in the form file:line:column: key: message, which editors make a link of.
func (f Fault) String() string {
	b := strings.Builder{}
	b.WriteString(f.Source)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	if f.Key != "" {
		b.WriteString(": " + f.Key)
	}
	b.WriteString(": " + f.Message)
	return b.String()
}

// Error lists everything that is wrong with a job, in the order of the file, overrides last. Faults is never empty.
type Error struct {
	Faults []Fault
}

// Error returns one line for each fault, after a line that counts them when there are several.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Faults)+1)
	if len(e.Faults) > 1 {
		lines = append(lines, fmt.Sprintf("the job has %d faults", len(e.Faults)))
	}
	for _, f := range e.Faults {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// newError returns the faults as an error, nil when there are none.
func newError(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b Fault) int {
		if (a.Source == overrideSource) != (b.Source == overrideSource) {
			if a.Source == overrideSource {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{Faults: faults}
}
