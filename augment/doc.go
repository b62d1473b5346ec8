// Package augment decodes images and makes views of them: the weak view that a teacher sees and the strong view that
// its student sees (DESIGN sections 2 and 3).
//
// Decode turns an encoded image into pixels. A Pipeline turns pixels into what a network takes: float32 in the layout
// [size, size, channels], normalised. Its operations run in a fixed order:
//
//	crop and change of size, horizontal flip, rotation, brightness, normalisation, occlusion
//
// Their parameters mean what they mean in torchvision (RandomResizedCrop, RandomHorizontalFlip, RandomRotation,
// ColorJitter, Normalize, RandomErasing). Where torchvision rounds to 8 bits after each operation on a PIL image,
// values stay float32 here, but for the first pass of the change of size. Views makes the views of a teacher and a
// student by a Policy. docs/views.md lists what differs from torchvision.
//
// A view is a function of the configuration, the key and the pixels alone. Each operation has a stream of randomness of
// its own, so an operation that is switched on or off does not change what another draws. Nothing depends on time, on
// goroutines or on the architecture: every product that is followed by a sum is rounded by itself, and the elementary
// functions are internal/random/elementary's.
package augment
