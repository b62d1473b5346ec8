//go:build !linux

package nn

// adviseHugePages does nothing: other systems choose their pages themselves.
func adviseHugePages([]float32) {}
