package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/operator-framework/helm-operator-plugins/pkg/watches"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apivalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../../helm/bodega"

// definition reads the resource's definition as the API server does.
func definition(t *testing.T) *apiextensions.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile("manifests/crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var external apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &external); err != nil {
		t.Fatal(err)
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&external)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&external.Spec)
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(&external, &internal, nil); err != nil {
		t.Fatal(err)
	}
	internal.Status.StoredVersions = []string{internal.Spec.Versions[0].Name}
	return &internal
}

func TestTheAPIServerTakesTheDefinition(t *testing.T) {
	if errs := validation.ValidateCustomResourceDefinition(t.Context(), definition(t)); len(errs) > 0 {
		t.Fatal(errs.ToAggregate())
	}
}

// sampleFiles gives the resources in samples/.
func sampleFiles(t *testing.T) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	paths, _ := filepath.Glob("samples/*.yaml")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var one map[string]any
		if err := yaml.Unmarshal(text, &one); err != nil {
			t.Fatal(err)
		}
		found[path] = one
	}
	if len(found) < 2 {
		t.Fatalf("samples: %v", paths)
	}
	return found
}

func TestTheAPIServerTakesTheSamplesWhole(t *testing.T) {
	resource := definition(t).Spec.Validation.OpenAPIV3Schema
	structural, err := schema.NewStructural(resource)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := apivalidation.NewSchemaValidator(resource)
	if err != nil {
		t.Fatal(err)
	}
	for path, one := range sampleFiles(t) {
		if errs := apivalidation.ValidateCustomResource(nil, one, validator); len(errs) > 0 {
			t.Errorf("%s: %v", path, errs.ToAggregate())
		}
		if unknown := pruning.PruneWithOptions(one, structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}); len(unknown) > 0 {
			t.Errorf("%s: unknown: %v", path, unknown)
		}
	}
}

// watched reads watches.yaml as the operator does, with the chart of this tree in the place of the image's.
func watched(t *testing.T) watches.Watch {
	t.Helper()
	text, err := os.ReadFile("watches.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found, err := watches.LoadReader(strings.NewReader(strings.Replace(string(text), "chart: /chart", "chart: "+chartFolder, 1)))
	if err != nil || len(found) != 1 {
		t.Fatalf("error %v, %d watches", err, len(found))
	}
	return found[0]
}

func TestTheWatchIsOfTheResourceAndKeepsAnEyeOnItsObjects(t *testing.T) {
	watch, of := watched(t), definition(t)
	if watch.Group != of.Spec.Group || watch.Version != of.Spec.Versions[0].Name || watch.Kind != of.Spec.Names.Kind {
		t.Errorf("the watch is of %v", watch.GroupVersionKind)
	}
	if !*watch.WatchDependentResources || watch.ReconcilePeriod == nil || watch.ReconcilePeriod.Duration <= 0 || *watch.MaxConcurrentReconciles < 1 {
		t.Errorf("watch %+v", watch)
	}
}

// rendered gives the templates' text as the reconciler has it made: with the chart's defaults in the values.
func rendered(t *testing.T, of *chart.Chart, values map[string]any) map[string]string {
	t.Helper()
	whole, err := chartutil.CoalesceValues(of, values)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(of, whole, chartutil.ReleaseOptions{Name: "shop", Namespace: "shop", IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := engine.Render(of, all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestThisHelmRendersTheChartFromTheSamples(t *testing.T) {
	of, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	for path, one := range sampleFiles(t) {
		text := rendered(t, of, one["spec"].(map[string]any))
		if !strings.Contains(text["bodega/templates/services.yaml"], "name: shop-bodega-order-service") {
			t.Errorf("%s: no order service", path)
		}
	}
}
