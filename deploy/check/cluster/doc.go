// Package cluster holds the test of the Helm chart on a real Kubernetes control plane: etcd, API server, controller manager
// and scheduler, each a process on loopback, with nodes that kwok simulates and Helm's own program. What no process of ours does
// there (pods are made ready by kwok), the tests of package check do with the programs themselves.
//
// It is a module of its own: go.mod lists the programs as tools, all of one set of versions, so that they are built together and
// share what is compiled.
//
//	make e2e-k8s
package cluster
