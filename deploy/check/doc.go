// Package check holds the tests of what runs Pupil elsewhere: the Helm chart, the container images, the compose file and the
// systemd units. It is a module of its own, so that Helm's and Kubernetes' libraries are no dependencies of the programs.
//
// The chart is rendered with Helm's engine for a matrix of values; each object is decoded strictly into the type of its
// API, and held to rules. The flags that it gives are looked up in the programs' own help, and the programs run with them.
//
//	make chart
package check
