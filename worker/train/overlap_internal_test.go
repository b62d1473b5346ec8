package train

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		var o overlap
		if total, exposed := o.take(time.Now()); total != 0 || exposed != 0 {
			t.Errorf("nothing was under way for %s, exposed for %s", total, exposed)
		}
		for _, c := range []struct {
			computed       time.Duration // after the beginning of the step
			total, exposed time.Duration
		}{{4 * s, 4 * s, 2 * s}, {6 * s, 4 * s, 0}, {0, 4 * s, 4 * s}} {
			begin := time.Now()
			first := o.begin()
			time.Sleep(s)
			second := o.begin()
			first()
			time.Sleep(s)
			second() // two seconds without a gap
			time.Sleep(2 * s)
			third := o.begin()
			time.Sleep(2 * s)
			third()
			if total, exposed := o.take(begin.Add(c.computed)); total != c.total || exposed != c.exposed {
				t.Errorf("computed after %s: under way for %s, exposed for %s", c.computed, total, exposed)
			}
		}
	})
}
