package setup_test

import (
	"testing"

	"pupil/storage/diskcache"
	"pupil/worker/feed"
)

// TestTeacherCache: jobs whose teacher sees the same views share its outputs, and no others do.
func TestTeacherCache(t *testing.T) {
	disk := diskcache.New(t.TempDir(), 1<<20, nil)
	first, err := open(t)
	if err != nil {
		t.Fatal(err)
	}
	c, err := first.TeacherCache(disk)
	if err != nil {
		t.Fatal(err)
	}
	images := first.Spec.Batch / first.Spec.Lanes
	c.Store(t.Context(), 2, 1, feed.Outputs{
		Pooled: make([]float32, images*first.Teacher.Features()), Logits: make([]float32, images*first.TeacherConfig.Outputs),
	})
	for _, x := range []struct {
		override string
		shared   bool
	}{
		{"seed=1", true}, // as it is
		{"loss=[{name: l2}]", true},
		{"student.width=0.25", true},
		{"views.student.rotate=40", true},
		{"views.policy=nested", true},
		{"optimizer.learning_rate=0.5", true},
		{"epochs=1", true},
		{"seed=2", false},
		{"batch=256", false},
		{"lanes=16", false},
		{"dataset.chunk=7", false},
		{"dataset.broken=skip", false},
		{"dataset.train=../../deploy/examples/fashion-mnist/test", false},
		{"teacher.winograd=false", false},
		{"views.teacher.rotate=4", false},
		{"views.teacher.normalize={mean: [0.5], std: [0.5]}", false},
		{"views.student.normalize={mean: [0.9], std: [0.5]}", false}, // images are decoded over its colour
	} {
		j, err := open(t, x.override)
		if err != nil {
			t.Errorf("%s: %v", x.override, err)
			continue
		}
		c, err := j.TeacherCache(disk)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Load(2, 1); ok != x.shared {
			t.Errorf("with %s the outputs are shared: %t, want %t", x.override, ok, x.shared)
		}
	}
	if c, err := first.TeacherCache(nil); c != nil || err != nil {
		t.Errorf("without a folder: %v, %v", c, err)
	}
	supervised, err := open(t, "teacher=null", "loss=[{name: cross_entropy}]")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := supervised.TeacherCache(disk); c != nil || err != nil {
		t.Errorf("without a teacher: %v, %v", c, err)
	}
}
