package meter_test

import (
	"fmt"
	"testing"

	"pupil/allreduce/internal/meter"
)

// A step by a clock of the test: every moment is counted where it belongs, and the open step counts in the total.
func TestMeter(t *testing.T) {
	m := &meter.Meter{}
	nothing, chunks, done := meter.State{}, meter.State{Chunks: true}, meter.State{Done: true}
	m.Woke(10) // nothing was asked for
	m.Turn(12, chunks, false)
	m.Woke(20)
	m.Turn(21, meter.State{Chunks: true, Ahead: true}, false)
	m.Woke(24)
	m.Sent(100)
	m.Checked(1000)
	m.Turn(25, meter.State{Ahead: true}, false)
	if step, total := m.Read(30); step != (meter.Times{}) || total != (meter.Times{
		Wait: 8 + 3, Behind: 3 + 5, Add: 2 + 1 + 1 + 1000, Send: 100,
	}) {
		t.Errorf("in the step: %+v, %+v", step, total)
	}
	m.Woke(32)
	m.Turn(32, done, false)
	m.Woke(35)
	m.Turn(36, nothing, true)
	first := meter.Times{Steps: 1, Wait: 11, Behind: 10, Commit: 3, Add: 1005, Send: 100}
	if step, total := m.Read(50); step != first || total != first {
		t.Errorf("after the step: %+v, %+v", step, total)
	}
	m.Woke(60)
	m.Turn(61, done, false)
	m.Woke(63)
	m.Turn(63, nothing, true)
	second := meter.Times{Steps: 1, Commit: 2, Add: 1}
	if step, total := m.Read(90); step != second || total != first.Plus(second) {
		t.Errorf("after two steps: %+v, %+v", step, total)
	}
}

func Example() {
	m := &meter.Meter{}
	m.Turn(0, meter.State{Chunks: true}, false)
	m.Woke(7)
	m.Turn(9, meter.State{}, true)
	step, _ := m.Read(9)
	fmt.Println(step.Steps, "step; waited", step.Wait, "and added", step.Add)
	// Output: 1 step; waited 7ns and added 2ns
}
