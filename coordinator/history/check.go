package history

import "fmt"

// check says what is wrong with a series that was read.
func (s *shape) check() error {
	if len(s.Steps) > Capacity || len(s.Columns) > maxColumns {
		return fmt.Errorf("a series of %d points and %d columns; at most %d and %d can be read", len(s.Steps), len(s.Columns), Capacity, maxColumns)
	}
	if s.Stride < 0 || s.Stride == 0 && len(s.Steps) > 0 {
		return fmt.Errorf("a series with a stride of %d", s.Stride)
	}
	for i, step := range s.Steps {
		if step < 1 || i > 0 && step <= s.Steps[i-1] {
			return fmt.Errorf("a series whose step %d is not above the one before", step)
		}
	}
	for name, values := range s.Columns {
		if len(values) != len(s.Steps) {
			return fmt.Errorf("a series of %d points with %d of %.40q", len(s.Steps), len(values), name)
		}
	}
	return nil
}
