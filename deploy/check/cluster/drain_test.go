package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/kubectl/pkg/drain"
)

// watch follows the coordinators. What it returns ends that, and says how many were away at the same time at most, of those
// that had been ready before.
func (r *release) watch() (most func() int) {
	r.t.Helper()
	list, err := r.client.CoreV1().Pods(namespace).List(r.ctx, ofPart("coordinator"))
	if err != nil {
		r.t.Fatal(err)
	}
	which := ofPart("coordinator")
	which.ResourceVersion = list.ResourceVersion
	changes, err := r.client.CoreV1().Pods(namespace).Watch(r.ctx, which)
	if err != nil {
		r.t.Fatal(err)
	}
	is := map[string]bool{} // ready, by name
	for i := range list.Items {
		is[list.Items[i].Name] = ready(&list.Items[i])
	}
	away, stop, done := 0, make(chan struct{}), make(chan struct{})
	var broken error
	early := func(err error) { // the end of a watch may come as an error; before its time it is one
		select {
		case <-stop:
		default:
			broken = err
		}
	}
	go func() {
		defer close(done)
		for change := range changes.ResultChan() {
			p, ok := change.Object.(*corev1.Pod)
			if !ok {
				early(fmt.Errorf("the API server sent %s: %v", change.Type, change.Object))
				return
			}
			if now := ready(p) && change.Type != watch.Deleted; now || is[p.Name] {
				is[p.Name] = now
			}
			n := 0
			for _, ready := range is {
				if !ready {
					n++
				}
			}
			away = max(away, n)
		}
		early(errors.New("it has ended"))
	}()
	return func() int {
		r.t.Helper()
		close(stop)
		changes.Stop()
		if <-done; broken != nil {
			r.t.Errorf("watch of the coordinators: %v", broken)
		}
		return away
	}
}

// evictions asks for the eviction of a coordinator while one is away, which the budget forbids, and when all are back.
func (r *release) evictions() {
	r.t.Helper()
	r.cordon(true) // so that the first one finds no place
	if err := r.evict("pupil-coordinator-0"); err != nil {
		r.t.Fatalf("the eviction of the first coordinator: %v", err)
	}
	r.await("the first coordinator waits for a node", func() error {
		p, err := r.client.CoreV1().Pods(namespace).Get(r.ctx, "pupil-coordinator-0", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable {
				return nil
			}
		}
		return fmt.Errorf("it has the conditions %v", p.Status.Conditions)
	})
	err := r.evict("pupil-coordinator-1")
	if !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		r.t.Errorf("while one coordinator is away, the eviction of another one: %v; want the budget to forbid it", err)
	}
	r.cordon(false)
	r.settle()
	r.await("the budget lets another one go", func() error { return r.evict("pupil-coordinator-1") })
	r.settle()
}

func (r *release) evict(pod string) error {
	return r.client.PolicyV1().Evictions(namespace).Evict(r.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: namespace}})
}

// cordon lets no new pods on any node, or lets them again.
func (r *release) cordon(closed bool) {
	r.t.Helper()
	for i := range nodes {
		r.onNode(fmt.Sprintf("node-%d", i), func(h *drain.Helper, n *corev1.Node) error { return drain.RunCordonOrUncordon(h, n, closed) })
	}
}

// onNode does something that kubectl does to a node.
func (r *release) onNode(name string, do func(*drain.Helper, *corev1.Node) error) {
	r.t.Helper()
	if err := r.kubectl(name, do); err != nil {
		r.t.Fatal(err)
	}
}

func (r *release) kubectl(name string, do func(*drain.Helper, *corev1.Node) error) error {
	n, err := r.client.CoreV1().Nodes().Get(r.ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var said bytes.Buffer
	h := &drain.Helper{
		Ctx: r.ctx, Client: r.client, GracePeriodSeconds: -1, DeleteEmptyDirData: true, Timeout: 10 * time.Minute, Out: &said, ErrOut: &said,
	}
	if err := do(h, n); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, said.String())
	}
	return nil
}

// drain empties two nodes that have a coordinator each, at the same time, as kubectl drain does: it asks again while the budget
// forbids an eviction. Afterwards nothing of the release is there, and all is ready elsewhere.
func (r *release) drain() {
	r.t.Helper()
	var from []string
	for _, p := range r.pods(ofPart("coordinator"))[:2] {
		from = append(from, p.Spec.NodeName)
	}
	failures := make([]error, len(from))
	var group sync.WaitGroup
	for i, name := range from {
		group.Go(func() {
			failures[i] = r.kubectl(name, func(h *drain.Helper, n *corev1.Node) error {
				if err := drain.RunCordonOrUncordon(h, n, true); err != nil {
					return err
				}
				return drain.RunNodeDrain(h, n.Name)
			})
		})
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		r.t.Fatalf("drain: %v", err)
	}
	r.settle()
	for _, p := range r.pods(ofRelease) {
		for _, name := range from {
			if p.Spec.NodeName == name {
				r.t.Errorf("%s is on %s, which was drained", p.Name, name)
			}
		}
	}
	r.cordon(false)
}
