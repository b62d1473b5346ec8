// Package jpeg decodes the JPEG files that most datasets consist of, in less than half the time of image/jpeg: 8-bit
// sequential Huffman coding in one scan, grey or YCbCr, with the chroma at full or half resolution. For every other
// file Decode says so, and the caller uses image/jpeg.
//
// The pixels are those of libjpeg and libjpeg-turbo with their default settings, bit for bit, and so those that PIL and
// torchvision see: the accurate integer transform ("islow"), chroma interpolated with a triangle filter ("fancy
// upsampling") and the same rounding of the conversion to RGB. Everything is integer arithmetic.
//
// The format is ITU-T T.81; sections and figures in comments are its own.
package jpeg
