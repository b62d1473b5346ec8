// Package export writes students for other programs: as ONNX, and as safetensors.
//
//	data, err := export.ONNX(network, state, export.Config{Model: config, Student: digest, Fold: true, Own: true})
//
// An ONNX file has opset 17. Its input is images, float32 [N, channels, size, size] with any N, in 0..1 and normalised as
// the metadata say; its outputs are features [N, width] and, with a classifier, logits and probabilities [N, classes].
// Everything that a program needs to prepare images is in the file's metadata.
package export
