// Package plain evaluates the losses of package loss for a whole batch at once, straight from the formulas of DESIGN
// section 4: float64 sums in the order of the samples, no lanes, no fixed point, math.Exp and math.Log. It is what
// tests compare the exact evaluation with, to about nine digits, and the shortest way to read what a loss is. Its bits
// may differ between processors; nothing that trains uses it.
package plain
