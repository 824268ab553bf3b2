package main

import (
	"context"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// stored gives a storage with one release of that state and age.
func stored(t *testing.T, status release.Status, age time.Duration) *storage.Storage {
	t.Helper()
	releases := storage.Init(driver.NewMemory())
	one := &release.Release{Name: "shop", Version: 1, Info: &release.Info{Status: status, LastDeployed: helmtime.Time{Time: now.Add(-age)}}}
	if err := releases.Create(one); err != nil {
		t.Fatal(err)
	}
	return releases
}

func TestAReleaseThatWasCutOffIsCalledFailed(t *testing.T) {
	for _, status := range []release.Status{release.StatusPendingInstall, release.StatusPendingUpgrade, release.StatusPendingRollback} {
		releases := stored(t, status, makingMax)
		if err := settle(releases, "shop", now); err != nil {
			t.Fatal(err)
		}
		last, err := releases.Last("shop")
		if err != nil || last.Info.Status != release.StatusFailed || last.Info.Description != "cut off while it was "+status.String() {
			t.Errorf("%s: error %v, now %+v", status, err, last.Info)
		}
	}
}

func TestAReleaseThatIsDoneOrInTheMakingIsLeftAsItIs(t *testing.T) {
	for status, age := range map[release.Status]time.Duration{
		release.StatusDeployed:       time.Hour,
		release.StatusFailed:         time.Hour,
		release.StatusPendingUpgrade: makingMax - time.Second,
	} {
		releases := stored(t, status, age)
		if err := settle(releases, "shop", now); err != nil {
			t.Fatal(err)
		}
		if last, err := releases.Last("shop"); err != nil || last.Info.Status != status {
			t.Errorf("%s: error %v, now %+v", status, err, last.Info)
		}
	}
	if err := settle(storage.Init(driver.NewMemory()), "shop", now); err != nil {
		t.Errorf("without a release: %v", err)
	}
}

// statusOnly is a client that writes to a recorder.
type statusOnly struct {
	client.Client
	status client.SubResourceWriter
}

func (of statusOnly) Status() client.SubResourceWriter {
	return of.status
}

type statusRecorder struct {
	client.SubResourceWriter
	written map[string]any
}

func (of *statusRecorder) Update(_ context.Context, what client.Object, _ ...client.SubResourceUpdateOption) error {
	of.written = what.(*unstructured.Unstructured).Object
	return nil
}

func TestTheStatusIsWrittenWithoutTheManifest(t *testing.T) {
	to := &statusRecorder{}
	resource := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{
		"conditions":      []any{map[string]any{"type": "Deployed"}},
		"deployedRelease": map[string]any{"name": "shop", "manifest": "password: secret"},
	}}}
	if err := (discreet{statusOnly{status: to}}).Status().Update(context.Background(), resource); err != nil {
		t.Fatal(err)
	}
	deployed, _, _ := unstructured.NestedMap(to.written, "status", "deployedRelease")
	if len(deployed) != 1 || deployed["name"] != "shop" {
		t.Errorf("written: %v", to.written)
	}
	if conditions, _, _ := unstructured.NestedSlice(to.written, "status", "conditions"); len(conditions) != 1 {
		t.Errorf("conditions: %v", to.written)
	}
}
