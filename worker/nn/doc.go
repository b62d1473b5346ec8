// Package nn has the image networks: ResNet, MobileNetV2 and MobileNetV3 as gorgonia graphs of operations of our own
// over internal/kernel.
//
// Names, shapes, order and layouts of parameters are torchvision's outside (Import, Export, config.json), so that a
// PyTorch checkpoint is a teacher here and a student is a checkpoint there. Inside, activations are NHWC and weights
// are [R, S, C, K] (dense), [R, S, C] (depthwise) and [C, K] (linear), in one flat vector that lanes, the optimiser
// and the ring share. A Network is the immutable description; a State is its numbers.
//
//	n, err := nn.New(nn.Config{Architecture: "mobilenet_v2_cifar", Width: 0.5, Outputs: 10, Size: 28, Channels: 1})
//	s := n.NewState()
//	n.Init(s, seed)
//	t, err := n.NewTraining(s, nn.TrainingConfig{Batch: 16, Outputs: []nn.Output{nn.Logits}, Loss: criterion,
//		Gradients: gradients, Statistics: statistics, OnGradient: reduce})
//	err = t.Run(images)                          // gradients and batch statistics of one batch
//	n.UpdateRunning(s.Buffers, statistics)
//
// The caller's duties:
//
//  1. A Training and an Inference are used by one goroutine at a time. Several may share one State and run side by
//     side.
//  2. State.Params must not change while a Run that reads it is under way, and must stay the same slice.
//  3. The criterion and OnGradient run on the graph's goroutine. The criterion may block; nothing else computes
//     meanwhile.
//  4. A Frozen network has the weights of the moment when it was made. It may be shared; an Inference may not.
//
// For inference a network is frozen once (Freeze): batch norms are folded into the filters, which are arranged for the
// kernels, and 3 x 3 convolutions of stride 1 or 2 use Winograd's algorithm where that pays, whatever the batch. Convolutions
// write their output once, with shift, activation and the sum that ends a residual block. A network is cut into stages:
// a few images at a time go through layers with large maps, the whole batch through those with many weights. Threads
// split the batch's images; what an image gives depends on neither threads nor stages nor the other images.
//
// A training graph is built once: the forward operations, the loss operation that calls the criterion, and gradient
// operations that gorgonia's symbolic differentiation asks of each forward operation. They run in the order in which
// they were made, so that backward goes through the parameters from the last to the first, and a gradient can travel
// while the next one is computed. The order being fixed, the place of each activation and gradient in one slice is
// planned when the graph is built, by the operations that touch it first and last: a run allocates none of them.
// TrainingBytes and InferenceBytes make the plan alone, Layers lists what a network consists of.
//
// A batch norm's sums are gathered by the convolution before it, while that writes. Where one pointwise or depthwise
// convolution alone reads the norm's output, this is never in memory: the convolution applies the norm as it reads, and
// its data gradient goes on through the activation and gathers the sums of the norm's backward pass. Such convolutions
// make both their gradients at once, and that of their own output as they read it. Of a convolution
// with its batch norm the backward pass keeps what the convolution gave; where a later convolution needs the norm's
// output for its weight gradient, the norm is applied again as that is read.
//
// A criterion sees one output or several: logits, pooled features, and a projection of them. The pooled features feed
// the classifier, the projection and the criterion; the three gradients are summed in a fixed order.
//
// Where it differs from torchvision: dropout in classifiers is left out (p = 0), since a student learns from soft
// targets and a step must be a function of its inputs; inputs may have one channel; a network may have a projection.
package nn
