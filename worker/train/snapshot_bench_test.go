package train_test

import (
	"testing"

	"pupil/worker/optim"
)

// BenchmarkCheckpointCopy is what a checkpoint holds the training up for: the copy of the state, here a MobileNetV2 of width 2
// with the moments of AdamW. A plain copy of as many bytes stands beside it.
func BenchmarkCheckpointCopy(b *testing.B) {
	w := newWorld(b, 1)
	w.student = network(b, "mobilenet_v2_cifar", 2)
	w.optimizer = optim.Config{Name: "adamw", Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8}
	state := w.state(b)
	snap, err := state.Checkpoint()
	if err != nil {
		b.Fatal(err)
	}
	var bytes int64
	for _, f := range snap.Parts {
		for _, t := range f.Tensors {
			bytes += int64(len(t.Data))
		}
	}
	b.Run("checkpoint", func(b *testing.B) {
		b.SetBytes(bytes)
		for b.Loop() {
			if _, err := state.Checkpoint(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(bytes)
		source := make([]byte, bytes)
		for b.Loop() {
			target := make([]byte, bytes)
			copy(target, source)
		}
	})
}
