// Package safetensors reads and writes the safetensors format: named tensors in one flat, verifiable file
// (github.com/huggingface/safetensors, "Format").
//
//	8 bytes     N, the length of the header, unsigned, little-endian; at most 100,000,000
//	N bytes     the header, a JSON object: {"__metadata__": {"key": "value"}, NAME: {"dtype", "shape", "data_offsets"}}
//	the rest    the tensors' elements, row-major, little-endian
//
// data_offsets are [begin, end) relative to the first byte after the header. The tensors cover the rest of the file
// exactly: no gap, no overlap, nothing left over. [Decode] refuses every file that breaks one of these rules, so that a
// file which decodes can be used without further checks of lengths.
//
// [File.Encode] writes the same bytes for the same tensors. It keeps the order of the tensors in the header, pads the
// header with spaces to a multiple of 8 bytes, and lays out the data of wide elements before that of narrow ones, so
// that every tensor is aligned to its element: readers that map the file into memory need that.
package safetensors
