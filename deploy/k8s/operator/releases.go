package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	helmclient "github.com/operator-framework/helm-operator-plugins/pkg/client"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// How long a release may be in the making. Nothing is waited for in it, so it takes seconds.
const makingMax = time.Minute

// newReleases gives the reconciler its Helm client. What an upgrade that was refused has done is undone by patches, as
// helm does it, rather than by replacing every object.
func newReleases(of manager.Manager) (helmclient.ActionClientGetter, error) {
	configs, err := helmclient.NewActionConfigGetter(of.GetConfig(), of.GetRESTMapper())
	if err != nil {
		return nil, err
	}
	gentle := helmclient.AppendUpgradeFailureRollbackOptions(func(rollback *action.Rollback) error {
		rollback.Force = false
		return nil
	})
	clients, err := helmclient.NewActionClientGetter(configs, gentle)
	if err != nil {
		return nil, err
	}
	return settled{clients}, nil
}

// settled ends what an operator that was killed has left half done. Helm would wait for it forever.
type settled struct {
	helmclient.ActionClientGetter
}

func (getter settled) ActionClientFor(ctx context.Context, of client.Object) (helmclient.ActionInterface, error) {
	made, err := getter.ActionClientGetter.ActionClientFor(ctx, of)
	if err != nil {
		return nil, err
	}
	return made, settle(made.Config().Releases, of.GetName(), time.Now())
}

// settle calls a release failed that has been in the making for too long; the next upgrade starts from there.
func settle(releases *storage.Storage, name string, now time.Time) error {
	last, err := releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the release: %w", err)
	}
	if !last.Info.Status.IsPending() || now.Sub(last.Info.LastDeployed.Time) < makingMax {
		return nil
	}
	last.SetStatus(release.StatusFailed, fmt.Sprintf("cut off while it was %s", last.Info.Status))
	return releases.Update(last)
}

// discreet keeps the manifest out of the resource's status, where the reconciler puts it: Secrets are in it.
type discreet struct {
	client.Client
}

func (of discreet) Status() client.SubResourceWriter {
	return discreetStatus{of.Client.Status()}
}

type discreetStatus struct {
	client.SubResourceWriter
}

func (of discreetStatus) Update(ctx context.Context, what client.Object, options ...client.SubResourceUpdateOption) error {
	if resource, ok := what.(*unstructured.Unstructured); ok {
		unstructured.RemoveNestedField(resource.Object, "status", "deployedRelease", "manifest")
	}
	return of.SubResourceWriter.Update(ctx, what, options...)
}
