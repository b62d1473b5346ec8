// Package optim updates a network's weights: optimisers, clipping of the gradient, an average of the weights, and the
// schedule of the learning rate.
//
// Weights, gradients and moments are flat float32 vectors in the network's parameter order. What is here is a function
// of the sums over all lanes alone, and has the same bits on every architecture: updates are elementwise and round
// every product, norms are sums in float64 in an order that the vector's length gives, powers are made of products, and
// the cosine is that of internal/random/elementary.
//
// A step of a caller, after the gradients of all lanes are summed:
//
//	norm := optim.ClipNorm(gradients, bound)  // not finite: the caller reports it, and goes no further
//	optimizer.Step(params, gradients, step, schedule.Rate(step))
//	... update of the norms' running statistics ...
//	average.Update(params, statistics, step)
//
// A checkpoint keeps the Moments of the optimiser and of the average.
package optim
