package charttest

import (
	"errors"
	"fmt"
	"strings"

	keda "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// kinds are the objects that the chart may make, with the type of each.
func kinds() map[string]func() metav1.Object {
	return map[string]func() metav1.Object{
		"v1/ConfigMap":                            func() metav1.Object { return new(corev1.ConfigMap) },
		"v1/Secret":                               func() metav1.Object { return new(corev1.Secret) },
		"v1/Service":                              func() metav1.Object { return new(corev1.Service) },
		"v1/ServiceAccount":                       func() metav1.Object { return new(corev1.ServiceAccount) },
		"v1/Pod":                                  func() metav1.Object { return new(corev1.Pod) },
		"apps/v1/StatefulSet":                     func() metav1.Object { return new(appsv1.StatefulSet) },
		"apps/v1/Deployment":                      func() metav1.Object { return new(appsv1.Deployment) },
		"batch/v1/Job":                            func() metav1.Object { return new(batchv1.Job) },
		"autoscaling/v2/HorizontalPodAutoscaler":  func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
		"policy/v1/PodDisruptionBudget":           func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
		"networking.k8s.io/v1/NetworkPolicy":      func() metav1.Object { return new(networkingv1.NetworkPolicy) },
		"networking.k8s.io/v1/Ingress":            func() metav1.Object { return new(networkingv1.Ingress) },
		"gateway.networking.k8s.io/v1/HTTPRoute":  func() metav1.Object { return new(gateway.HTTPRoute) },
		"monitoring.coreos.com/v1/ServiceMonitor": func() metav1.Object { return new(monitoring.ServiceMonitor) },
		"monitoring.coreos.com/v1/PrometheusRule": func() metav1.Object { return new(monitoring.PrometheusRule) },
		"keda.sh/v1alpha1/ScaledObject":           func() metav1.Object { return new(keda.ScaledObject) },
	}
}

// decode reads one document into the type of its kind. A field that the type
// does not have, or has twice, is an error: the API server would drop it.
func decode(doc string) (object, error) {
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
		return object{}, err
	}
	kind := meta.APIVersion + "/" + meta.Kind
	make, known := kinds()[kind]
	if !known {
		return object{}, fmt.Errorf("the test knows no kind %q", kind)
	}
	o := make()
	if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
		return object{}, fmt.Errorf("%s: %w", kind, err)
	}
	if o.GetName() == "" || o.GetNamespace() != namespace {
		return object{}, errors.New(kind + " has no name, or is not of the namespace of the release")
	}
	if strings.Contains(doc, "%!") {
		return object{}, errors.New(kind + " shows an error of a format")
	}
	return object{Object: o, kind: meta.Kind, text: doc}, nil
}
