package loss_test

import (
	"encoding/binary"
	"hash/fnv"
	"testing"

	"pupil/loss"
)

// goldenBits is a hash of all bits of the results below. It is the same on every architecture and with every processor
// feature; a change of it is a change of what training computes, and belongs in the changelog.
const goldenBits uint64 = 0xc490a8674ff5f497

// TestGoldenBits evaluates all reference cases, each as every kind of term at once.
func TestGoldenBits(t *testing.T) {
	hash := fnv.New64a()
	for _, r := range references(t) {
		mutual := r.term(loss.UpdateNatural, 0.7)
		mutual.Start = loss.Start{KL: 0.9, Share: 0.3}
		kl, labels := loss.DefaultConfig(loss.KL), loss.DefaultConfig(loss.CrossEntropy)
		kl.TeacherTemperature, kl.StudentTemperature, labels.LabelSmoothing = 3, 3, 0.1
		b := r.batch()
		for n := range r.N {
			b.Labels = append(b.Labels, n%r.C)
		}
		l := must(single([]loss.Config{mutual, kl, labels}, r.C, r.N))
		got := must(l.Lane(0, r.N).Evaluate(b, with(r.prior()), 0.1, alone))
		for _, word := range append(globalBits(got), bits(got.Gradients[0])...) {
			if err := binary.Write(hash, binary.LittleEndian, word); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := hash.Sum64(); got != goldenBits {
		t.Errorf("hash of the results' bits is %#x, want %#x", got, goldenBits)
	}
}
