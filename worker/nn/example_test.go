package nn_test

import (
	"fmt"
	"log"

	"pupil/worker/nn"
)

// A few steps of gradient descent with a criterion that wants the first of two logits high.
func Example() {
	n, err := nn.New(nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.125, Outputs: 2, Size: 8, Channels: 1})
	if err != nil {
		log.Fatal(err)
	}
	s := n.NewState()
	n.Init(s, 1)
	const batch = 4
	var losses []float64
	gradients, statistics := make([]float32, len(s.Params)), make([]float32, len(s.Buffers))
	training, err := n.NewTraining(s, nn.TrainingConfig{
		Batch: batch, Outputs: []nn.Output{nn.Logits}, Gradients: gradients, Statistics: statistics,
		Loss: func(features, gradients [][]float32) (float64, error) {
			loss, logits, gradient := 0.0, features[0], gradients[0]
			for i := range batch {
				d := logits[2*i] - logits[2*i+1] - 1
				loss += float64(d*d) / batch
				gradient[2*i], gradient[2*i+1] = 2*d/batch, -2*d/batch
			}
			losses = append(losses, loss)
			return loss, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer training.Close()

	images := make([]float32, batch*8*8)
	for i := range images {
		images[i] = float32(i%7) / 7
	}
	for range 15 {
		if err := training.Run(images); err != nil {
			log.Fatal(err)
		}
		for i, g := range gradients {
			s.Params[i] -= 0.0003 * g
		}
		n.UpdateRunning(s.Buffers, statistics)
		s.Batches++
	}
	fmt.Println("parameters:", len(s.Params), "features:", n.Features())
	fmt.Println("the loss fell by half:", losses[len(losses)-1] < losses[0]/2)
	// Output:
	// parameters: 113730 features: 1280
	// the loss fell by half: true
}
