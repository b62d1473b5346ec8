// Package inspect says of a network what its layers are, what they cost, and what memory training and inference take.
//
//	r, err := inspect.Of(network, inspect.Config{Batch: 16, Outputs: []nn.Output{nn.Logits}})
//	err = r.Print(os.Stdout)
//
// Nothing is trained and no memory of activations is taken: the graphs' plans are made, which know it beforehand. What
// is not in the figures is the kernels' scratch memory, the images and the program itself.
package inspect
