// Package gallery keeps the features of known identities, and finds to whom an image belongs, or that it is unknown.
//
//	g := gallery.New(model.Digest, model.Network.Features())
//	added, err := g.Add("anna", "anna/1.jpg", features)
//	g.Calibrate(0.01)                 // chooses the threshold for "unknown" from the gallery itself
//	answer, err := g.Identify(features, 5)
//
// A gallery is one safetensors file (tensor features [entries, width], unit rows) whose metadata has the identities, the
// threshold, the student's digest, and a SHA-256 over all of these: a damaged file is refused. It is written whole or not at
// all; Update holds a lock from reading to writing, so that nobody's entries are lost.
package gallery
