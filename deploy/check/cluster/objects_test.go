package cluster_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// settings are values whose objects the API server must take, besides those of the release.
var settings = [][]string{
	{"coordinators.replicas=5", "coordinators.dataPlane=mesh", "workers.spot=true", "workers.autoscaling.enabled=true", "coordinators.service.type=LoadBalancer"},
	{"workers.kind=StatefulSet", "workers.cache.persistent=true", "workers.podDisruptionBudget.maxUnavailable=25%", "tls.enabled=false", "coordinators.replicas=1"},
	{"nats.external.url=tls://nats.example:4222", "nats.external.existingSecret=nats", "storage.type=s3", "storage.s3.url=s3://bucket/runs", "storage.s3.existingSecret=keys"},
	{"storage.type=volume", "storage.volume.existingClaim=shared", "secrets.existingSecret=mine", "tls.existingSecret=hosts", "monitoring.dashboard.enabled=true"},
}

// variants gives the API server every object that the chart makes with some values, to check and not to keep: without a field
// that it does not know, and without a warning.
func (r *release) variants() {
	r.t.Helper()
	strict := rest.CopyConfig(r.config)
	warned := &warnings{}
	strict.WarningHandler = warned
	client, err := dynamic.NewForConfig(strict)
	if err != nil {
		r.t.Fatal(err)
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(r.client.Discovery()))
	for _, s := range append(settings, nil) {
		args := []string{"template", "pupil", chart}
		for _, value := range s {
			args = append(args, "--set="+value)
		}
		objects := r.objects(r.helm(r.operator, args...))
		if len(objects) < 12 {
			r.t.Errorf("with %s: %d objects", s, len(objects))
		}
		for _, o := range objects {
			kind := o.GroupVersionKind()
			mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil {
				r.t.Errorf("with %s: %v", s, err)
				continue
			}
			_, err = client.Resource(mapping.Resource).Namespace(namespace).Create(r.ctx, o, metav1.CreateOptions{
				DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict,
			})
			if said := warned.take(); err != nil || len(said) > 0 {
				r.t.Errorf("with %s: %s %s: %v, warnings %q", s, o.GetKind(), o.GetName(), err, said)
			}
		}
	}
}

// objects are those of a file of several.
func (r *release) objects(text string) []*unstructured.Unstructured {
	r.t.Helper()
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLToJSONDecoder(bufio.NewReader(strings.NewReader(text))); ; {
		var fields map[string]any
		if err := d.Decode(&fields); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			r.t.Fatalf("%v in\n%s", err, text)
		}
		if len(fields) > 0 {
			all = append(all, &unstructured.Unstructured{Object: fields})
		}
	}
}

// warnings collects what the API server warns of. One request is made at a time.
type warnings struct{ said []string }

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) { w.said = append(w.said, text) }

func (w *warnings) take() []string {
	said := w.said
	w.said = nil
	return said
}

// disks makes volumes that claims get, of one size.
func (p *plane) disks(size string, n int) {
	p.t.Helper()
	const class = "disks"
	if _, err := p.client.StorageV1().StorageClasses().Get(p.ctx, class, metav1.GetOptions{}); err != nil {
		late := storagev1.VolumeBindingWaitForFirstConsumer
		if _, err := p.client.StorageV1().StorageClasses().Create(p.ctx, &storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: class, Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
			Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: &late,
		}, metav1.CreateOptions{}); err != nil {
			p.t.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("disk-%s-%d", strings.ToLower(size), i)
		if _, err := p.client.CoreV1().PersistentVolumes().Create(p.ctx, &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PersistentVolumeSpec{
				Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
				AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				StorageClassName: class, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
				PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/" + name}},
			},
		}, metav1.CreateOptions{}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// checkLeft wants nothing to be left of the release but the claims of its volumes, and these to go by the label that the
// documents name.
func (r *release) checkLeft() {
	r.t.Helper()
	want := []string{"persistentvolumeclaims/data-pupil-store-0"}
	for i := range 5 {
		want = append(want, fmt.Sprintf("persistentvolumeclaims/state-pupil-coordinator-%d", i))
	}
	r.awaitOnly(want)
	claims := r.client.CoreV1().PersistentVolumeClaims(namespace)
	if err := claims.DeleteCollection(r.ctx, metav1.DeleteOptions{}, ofRelease); err != nil {
		r.t.Fatal(err)
	}
	r.awaitOnly(nil)
}

// awaitOnly waits until the namespace has these things only, besides what was there before the release.
func (r *release) awaitOnly(want []string) {
	r.t.Helper()
	quiet := rest.CopyConfig(r.config)
	quiet.WarningHandler = rest.NoWarnings{} // it warns of kinds that are out of use, which are listed all the same
	client, err := dynamic.NewForConfig(quiet)
	if err != nil {
		r.t.Fatal(err)
	}
	kinds, err := r.client.Discovery().ServerPreferredNamespacedResources()
	if err != nil {
		r.t.Fatal(err)
	}
	before := []string{"configmaps/kube-root-ca.crt", "serviceaccounts/default", "rolebindings/operator"}
	r.await(fmt.Sprintf("the namespace has only %s", want), func() error {
		found := map[string]bool{}
		for _, list := range kinds {
			group, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				return err
			}
			for _, kind := range list.APIResources {
				if kind.Name == "events" || !slices.Contains(kind.Verbs, "list") {
					continue
				}
				things, err := client.Resource(group.WithResource(kind.Name)).Namespace(namespace).List(r.ctx, metav1.ListOptions{})
				if err != nil {
					return fmt.Errorf("%s: %w", kind.Name, err)
				}
				for _, o := range things.Items {
					if name := kind.Name + "/" + o.GetName(); !slices.Contains(before, name) {
						found[name] = true
					}
				}
			}
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			return fmt.Errorf("it has %s", got)
		}
		return nil
	})
}
