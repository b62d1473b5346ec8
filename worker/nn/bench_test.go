package nn_test

import (
	"fmt"
	"testing"

	"pupil/worker/nn"
)

const benchBatch = 16

func BenchmarkTraining(b *testing.B) {
	for _, name := range []string{"mobilenet_v2_cifar", "mobilenet_v2"} {
		c := nn.Config{Architecture: name, Width: 0.5, Outputs: 10, Size: 28, Channels: 1}
		b.Run(fmt.Sprintf("%s-%v/28x28x1/batch%d", name, c.Width, benchBatch), func(b *testing.B) {
			n := mustNew(b, c)
			s := n.NewState()
			n.Init(s, 1)
			x := newStep(b, n, s, benchBatch, nn.Logits, meanSquare)
			images := noise(benchBatch * 28 * 28)
			for b.Loop() {
				x.run(b, images)
			}
			report(b, benchBatch, x.training.Bytes())
		})
	}
}

// BenchmarkTrain is the student's part of the steps of make bench-torch, with one lane and with two.
func BenchmarkTrain(b *testing.B) {
	for _, c := range []struct {
		nn.Config
		batches []int
	}{
		{nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.5, Outputs: 10, Size: 32, Channels: 3}, []int{64, 32}},
		{nn.Config{Architecture: "mobilenet_v2", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, []int{16, 8}},
		{nn.Config{Architecture: "mobilenet_v3_small", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, []int{16}},
	} {
		for _, batch := range c.batches {
			name := fmt.Sprintf("%s-%v/%dx%dx%d/batch%d", c.Architecture, c.Width, c.Size, c.Size, c.Channels, batch)
			b.Run(name, func(b *testing.B) {
				n := mustNew(b, c.Config)
				s := n.NewState()
				n.Init(s, 1)
				x := newStep(b, n, s, batch, nn.Logits, meanSquare)
				images := noise(batch * c.Size * c.Size * c.Channels)
				for b.Loop() {
					x.run(b, images)
				}
				report(b, batch, x.training.Bytes())
			})
		}
	}
}

func BenchmarkInference(b *testing.B) {
	for _, c := range []struct {
		nn.Config
		batch int
	}{
		{nn.Config{Architecture: "resnet18_cifar", Width: 0.125, Outputs: 10, Size: 28, Channels: 1}, benchBatch},
		{nn.Config{Architecture: "resnet18_cifar", Width: 0.25, Outputs: 10, Size: 28, Channels: 1}, benchBatch},
		{nn.Config{Architecture: "resnet18_cifar", Width: 1, Outputs: 10, Size: 32, Channels: 3}, 64},
		{nn.Config{Architecture: "resnet50", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, 16},
		{nn.Config{Architecture: "mobilenet_v2", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, 16},
		{nn.Config{Architecture: "mobilenet_v3_large", Width: 1, Outputs: 1000, Size: 224, Channels: 3}, 16},
	} {
		name := fmt.Sprintf("%s-%v/%dx%dx%d/batch%d", c.Architecture, c.Width, c.Size, c.Size, c.Channels, c.batch)
		b.Run(name, func(b *testing.B) {
			n := mustNew(b, c.Config)
			s := n.NewState()
			n.Init(s, 1)
			inference, err := n.NewInference(s, c.batch)
			if err != nil {
				b.Fatal(err)
			}
			defer inference.Close()
			images := noise(c.batch * c.Size * c.Size * c.Channels)
			for b.Loop() {
				if _, _, err := inference.Run(images); err != nil {
					b.Fatal(err)
				}
			}
			report(b, c.batch, inference.Bytes())
		})
	}
}

// report adds images a second and the memory of activations.
func report(b *testing.B, batch int, bytes int64) {
	b.ReportAllocs()
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "images/s")
	b.ReportMetric(float64(bytes), "activation-bytes")
}
