// Package sheet draws contact sheets: what a job's views make of some images, so that a person can see it.
//
// A sheet has a row for each image: its name, the image as it was decoded, and views of the teacher and of the student
// as they look before normalisation. The same rows give the same bytes.
package sheet
