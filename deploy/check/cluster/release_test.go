package cluster_test

import (
	"fmt"
	"slices"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// release is the release "pupil" in the namespace.
type release struct {
	*plane
	operator string
}

var ofRelease = metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=pupil"}

// part selects the pods of one part.
func ofPart(name string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: ofRelease.LabelSelector + ",app.kubernetes.io/component=" + name}
}

// check wants all of the release to be there and ready: so many coordinators, each on a node and with a volume of its own, and
// so many workers.
func (r *release) check(coordinators, workers int32) {
	r.t.Helper()
	apps := r.client.AppsV1()
	sets, err := apps.StatefulSets(namespace).List(r.ctx, ofRelease)
	if err != nil {
		r.t.Fatal(err)
	}
	deployments, err := apps.Deployments(namespace).List(r.ctx, ofRelease)
	if err != nil {
		r.t.Fatal(err)
	}
	want := map[string]int32{"pupil-coordinator": coordinators, "pupil-worker": workers}
	pods := int32(0)
	workload := func(m metav1.ObjectMeta, replicas, ready, updated int32, template *corev1.PodTemplateSpec) {
		if n, ok := want[m.Name]; ok && n != replicas {
			r.t.Errorf("%s has %d replicas, want %d", m.Name, replicas, n)
		}
		delete(want, m.Name)
		if ready != replicas || updated != replicas {
			r.t.Errorf("%s: %d ready, %d up to date, of %d", m.Name, ready, updated, replicas)
		}
		if m.Annotations["meta.helm.sh/release-name"] != "pupil" || m.Labels["app.kubernetes.io/managed-by"] != "Helm" {
			r.t.Errorf("%s is not Helm's: %v, %v", m.Name, m.Annotations, m.Labels)
		}
		if _, err := r.client.CoreV1().ServiceAccounts(namespace).Get(r.ctx, template.Spec.ServiceAccountName, metav1.GetOptions{}); err != nil {
			r.t.Errorf("%s: %v", m.Name, err)
		}
		pods += replicas
	}
	for i := range sets.Items {
		s := &sets.Items[i]
		workload(s.ObjectMeta, *s.Spec.Replicas, s.Status.ReadyReplicas, s.Status.UpdatedReplicas, &s.Spec.Template)
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		workload(d.ObjectMeta, *d.Spec.Replicas, d.Status.ReadyReplicas, d.Status.UpdatedReplicas, &d.Spec.Template)
	}
	for name := range want {
		r.t.Errorf("there is no %s", name)
	}
	r.checkPods(pods)
}

// checkPods wants so many pods, all of them ready and with an owner, and each coordinator on a node and a volume of its own.
func (r *release) checkPods(want int32) {
	r.t.Helper()
	pods := r.pods(ofRelease)
	if len(pods) != int(want) {
		r.t.Errorf("%d pods, want %d", len(pods), want)
	}
	at, volumes := map[string]string{}, map[string]string{}
	for _, p := range pods {
		owner := metav1.GetControllerOf(&p)
		if !ready(&p) || owner == nil || owner.Kind != "StatefulSet" && owner.Kind != "ReplicaSet" {
			r.t.Errorf("pod %s: phase %s, ready %v, owner %v", p.Name, p.Status.Phase, ready(&p), owner)
		}
		if p.Labels["app.kubernetes.io/component"] != "coordinator" {
			continue
		}
		if other := at[p.Spec.NodeName]; other != "" {
			r.t.Errorf("%s and %s share %s", p.Name, other, p.Spec.NodeName)
		}
		at[p.Spec.NodeName] = p.Name
		claim, err := r.client.CoreV1().PersistentVolumeClaims(namespace).Get(r.ctx, "state-"+p.Name, metav1.GetOptions{})
		if err != nil {
			r.t.Error(err)
			continue
		}
		if other := volumes[claim.Spec.VolumeName]; claim.Status.Phase != corev1.ClaimBound || other != "" {
			r.t.Errorf("%s is %s to %q, as is %q", claim.Name, claim.Status.Phase, claim.Spec.VolumeName, other)
		}
		volumes[claim.Spec.VolumeName] = claim.Name
	}
}

func (r *release) pods(which metav1.ListOptions) []corev1.Pod {
	r.t.Helper()
	list, err := r.client.CoreV1().Pods(namespace).List(r.ctx, which)
	if err != nil {
		r.t.Fatal(err)
	}
	return list.Items
}

// checkBudgets wants the budgets to hold what values and the chart's defaults say.
func (r *release) checkBudgets() {
	r.t.Helper()
	for name, expected := range map[string]int32{"pupil-coordinator": 3, "pupil-worker": 2} {
		r.await("the budget "+name+" knows its pods", func() error {
			b, err := r.client.PolicyV1().PodDisruptionBudgets(namespace).Get(r.ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if s := b.Status; s.ExpectedPods != expected || s.CurrentHealthy != expected || s.DesiredHealthy != expected-1 || s.DisruptionsAllowed != 1 {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
	}
}

// checkServices wants each service to lead to pods that are ready, the one for commands to all coordinators.
func (r *release) checkServices(coordinators int) {
	r.t.Helper()
	services, err := r.client.CoreV1().Services(namespace).List(r.ctx, ofRelease)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(services.Items) < 4 {
		r.t.Errorf("%d services", len(services.Items))
	}
	for _, s := range services.Items {
		r.await("the service "+s.Name+" leads somewhere", func() error {
			slices, err := r.client.DiscoveryV1().EndpointSlices(namespace).List(r.ctx, metav1.ListOptions{
				LabelSelector: discoveryv1.LabelServiceName + "=" + s.Name,
			})
			if err != nil {
				return err
			}
			found := 0
			for _, slice := range slices.Items {
				if len(slice.Ports) != len(s.Spec.Ports) {
					return fmt.Errorf("%d ports, want %d", len(slice.Ports), len(s.Spec.Ports))
				}
				for _, e := range slice.Endpoints {
					if e.Conditions.Ready != nil && *e.Conditions.Ready {
						found += len(e.Addresses)
					}
				}
			}
			if found == 0 || s.Name == "pupil" && found != coordinators {
				return fmt.Errorf("%d addresses", found)
			}
			return nil
		})
	}
}

// checkPolicies wants every pod to be held by a network policy for both directions, and each policy to hold pods.
func (r *release) checkPolicies() {
	r.t.Helper()
	policies, err := r.client.NetworkingV1().NetworkPolicies(namespace).List(r.ctx, ofRelease)
	if err != nil {
		r.t.Fatal(err)
	}
	held := map[string]bool{}
	pods := r.pods(ofRelease)
	for _, policy := range policies.Items {
		selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
		if err != nil {
			r.t.Fatal(err)
		}
		before := len(held)
		for _, p := range pods {
			if selector.Matches(labels.Set(p.Labels)) {
				held[p.Name] = true
			}
		}
		if len(held) == before || len(policy.Spec.PolicyTypes) != 2 {
			r.t.Errorf("the network policy %s holds %d pods, for %s", policy.Name, len(held)-before, policy.Spec.PolicyTypes)
		}
	}
	for _, p := range pods {
		if !held[p.Name] {
			r.t.Errorf("no network policy holds %s", p.Name)
		}
	}
}

// scaleWorkers does what kubectl scale does, and waits.
func (r *release) scaleWorkers(n int32) {
	r.t.Helper()
	deployments := r.client.AppsV1().Deployments(namespace)
	scale, err := deployments.GetScale(r.ctx, "pupil-worker", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	scale.Spec = autoscalingv1.ScaleSpec{Replicas: n}
	if _, err := deployments.UpdateScale(r.ctx, "pupil-worker", scale, metav1.UpdateOptions{FieldManager: "kubectl"}); err != nil {
		r.t.Fatal(err)
	}
	r.settle()
}

// settle waits until every workload is what it should be. The controllers may not have seen yet that a pod has gone, so pods are
// counted, too.
func (r *release) settle() {
	r.t.Helper()
	r.await("all workloads are ready", func() error {
		sets, err := r.client.AppsV1().StatefulSets(namespace).List(r.ctx, ofRelease)
		if err != nil {
			return err
		}
		deployments, err := r.client.AppsV1().Deployments(namespace).List(r.ctx, ofRelease)
		if err != nil {
			return err
		}
		want := int32(0)
		for _, s := range sets.Items {
			if s.Status.ObservedGeneration != s.Generation || s.Status.UpdatedReplicas != *s.Spec.Replicas {
				return fmt.Errorf("%s: %+v", s.Name, s.Status)
			}
			want += *s.Spec.Replicas
		}
		for _, d := range deployments.Items {
			if d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
				return fmt.Errorf("%s: %+v", d.Name, d.Status)
			}
			want += *d.Spec.Replicas
		}
		pods, err := r.client.CoreV1().Pods(namespace).List(r.ctx, ofRelease)
		if err != nil {
			return err
		}
		if len(pods.Items) != int(want) {
			return fmt.Errorf("%d pods, want %d", len(pods.Items), want)
		}
		for _, p := range pods.Items {
			if !ready(&p) {
				return fmt.Errorf("%s: %+v", p.Name, p.Status.Conditions)
			}
		}
		return nil
	})
}

// checkArguments wants each container of our programs to have an argument.
func (r *release) checkArguments(want string) {
	r.t.Helper()
	found := 0
	for _, p := range r.pods(ofRelease) {
		for _, c := range p.Spec.Containers {
			if len(c.Args) == 0 {
				continue // of the bundled store
			}
			if found++; !slices.Contains(c.Args, want) {
				r.t.Errorf("%s has not %s: %s", p.Name, want, c.Args)
			}
		}
	}
	if found < 5 {
		r.t.Errorf("%d containers", found)
	}
}

// checkGrown wants the coordinators that came later to wait until they are taken in, and the founders to know each other only
// and to be the pods that they were: the chart looks into the cluster for that.
func (r *release) checkGrown(before []corev1.Pod, now int) {
	r.t.Helper()
	founders := len(before)
	for _, was := range before {
		is, err := r.client.CoreV1().Pods(namespace).Get(r.ctx, was.Name, metav1.GetOptions{})
		if err != nil || is.UID != was.UID {
			r.t.Errorf("%s was started anew: %v", was.Name, err)
		}
	}
	set, err := r.client.AppsV1().StatefulSets(namespace).Get(r.ctx, "pupil-coordinator", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	if got := set.Annotations["pupil/founders"]; got != fmt.Sprint(founders) {
		r.t.Errorf("%q coordinators began the cluster, want %d", got, founders)
	}
	files, err := r.client.CoreV1().ConfigMaps(namespace).Get(r.ctx, "pupil-coordinator", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range now {
		text := files.Data[fmt.Sprintf("pupil-coordinator-%d.yaml", i)]
		if strings.Contains(text, "join: true") != (i >= founders) || strings.Contains(text, "\n  peers:") != (i < founders) {
			r.t.Errorf("coordinator %d has %q", i, text)
		}
	}
}

// secrets are those of the release, with what is in them.
func (r *release) secrets() map[string]map[string]string {
	r.t.Helper()
	list, err := r.client.CoreV1().Secrets(namespace).List(r.ctx, ofRelease)
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, s := range list.Items {
		all[s.Name] = map[string]string{}
		for key, value := range s.Data {
			all[s.Name][key] = string(value)
		}
	}
	if len(all["pupil-secrets"]["worker-token"]) < 32 || len(all["pupil-tls"]) != 3 {
		r.t.Errorf("secrets: %d", len(all))
	}
	return all
}

// ready says whether a pod is ready and stays.
func ready(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
