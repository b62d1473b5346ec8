package student_test

import (
	"testing"

	"pupil/internal/random"
	"pupil/worker/student"
)

// correlated are noisy points around a centre for each class, with features that resemble each other as a network's do.
func correlated(seed uint64, n, width, classes int) student.Features {
	f := clouds(seed, n, width, classes, 12)
	for i := range n {
		shared := random.New(random.PurposeTest, seed, 7, uint64(i)).Normal()
		row := f.Values[i*width:][:width]
		for j := range row {
			row[j] += float32(20 * shared)
			if j > 0 {
				row[j] += 0.7 * row[j-1]
			}
		}
	}
	return f
}

func BenchmarkProbe60000x512x10(b *testing.B) {
	train, test := correlated(1, 60000, 512, 10), correlated(2, 1000, 512, 10)
	for b.Loop() {
		p, err := student.FitProbe(train, student.DefaultProbeConfig(), 1)
		if err != nil {
			b.Fatal(err)
		}
		a, err := p.Accuracy(test, 1)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(p.Iterations), "iterations")
		b.ReportMetric(a, "accuracy")
	}
}
