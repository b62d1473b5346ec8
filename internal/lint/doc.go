// Package lint holds the rules of the tree that no compiler and no common linter knows: which package may import which,
// where randomness, printing and panics may be, what stands at the top level (DESIGN section 10, CONTRIBUTING).
//
// The rules look at the text of the tree alone: they parse, but do not build, so a tree that is half written can be
// checked too. A test runs them over this repository; each finding has its file and line. Where a rule has exceptions,
// they stand in a table beside it, each with its reason.
package lint
