// The operator makes a Helm release of each resource Bodega: it installs the chart of its image with the spec as values,
// upgrades it when the spec or the chart changes, mends what is changed behind its back, and uninstalls it with the resource.
// The work is that of operator-framework's helm-operator-plugins; here are its settings, and what it leaves open.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	"github.com/operator-framework/helm-operator-plugins/pkg/annotation"
	helmmanager "github.com/operator-framework/helm-operator-plugins/pkg/manager"
	"github.com/operator-framework/helm-operator-plugins/pkg/reconciler"
	"github.com/operator-framework/helm-operator-plugins/pkg/watches"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	about = "operator: Makes a Helm release of each resource Bodega."
	// A resource with this annotation is left alone while it is "true".
	pauseAnnotation = "bodega.dev/paused"
)

var version = "unknown" // of the release; set by the linker

func main() {
	given, err := readSettings(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintf(os.Stderr, "operator: %v\n", err)
		os.Exit(2)
	case given.printVersion:
		fmt.Printf("operator %s\n", version)
		return
	case given.printConfig:
		given.print(os.Stdout)
		return
	}
	logger := newLogger(given.logLevel, os.Stderr)
	log.SetLogger(logger)
	klog.SetLogger(logger)
	if err := run(given); err != nil {
		log.Log.Error(err, "the operator cannot go on")
		os.Exit(1)
	}
}

// newLogger writes JSON lines with the keys of the services' logs.
func newLogger(level zapcore.Level, to io.Writer) logr.Logger {
	keys := zap.JSONEncoder(func(encoder *zapcore.EncoderConfig) {
		encoder.TimeKey, encoder.MessageKey, encoder.NameKey = "time", "message", "logger"
		encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	})
	return zap.New(keys, zap.Level(level), zap.StacktraceLevel(zapcore.PanicLevel), zap.WriteTo(to)).WithValues("service", "operator")
}

func run(given settings) error {
	watched, err := watches.Load(given.watches)
	if err != nil {
		return err
	}
	to, err := config.GetConfig()
	if err != nil {
		return err
	}
	options := manager.Options{
		LeaderElection:                given.leaderElect,
		LeaderElectionID:              "bodega-operator",
		LeaderElectionReleaseOnCancel: true,
		HealthProbeBindAddress:        given.probesListen,
		Metrics:                       server.Options{BindAddress: given.metricsListen},
	}
	helmmanager.ConfigureWatchNamespaces(&options, log.Log)
	made, err := manager.New(to, options)
	if err != nil {
		return err
	}
	if err := errors.Join(made.AddHealthzCheck("ping", healthz.Ping), made.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return err
	}
	for _, watch := range watched {
		if err := addReconciler(made, watch); err != nil {
			return fmt.Errorf("%s: %w", watch.Kind, err)
		}
	}
	return made.Start(signals.SetupSignalHandler())
}

func addReconciler(to manager.Manager, watch watches.Watch) error {
	releases, err := newReleases(to)
	if err != nil {
		return err
	}
	options := []reconciler.Option{
		reconciler.WithGroupVersionKind(watch.GroupVersionKind),
		reconciler.WithChart(*watch.Chart),
		reconciler.WithSelector(*watch.Selector),
		reconciler.WithOverrideValues(watch.OverrideValues),
		reconciler.SkipDependentWatches(!*watch.WatchDependentResources),
		reconciler.WithClient(discreet{to.GetClient()}),
		reconciler.WithActionClientGetter(releases),
		reconciler.WithPauseReconcileHandler(reconciler.PauseReconcileIfAnnotationTrue(pauseAnnotation)),
		reconciler.WithInstallAnnotations(annotation.InstallDescription{}),
		reconciler.WithUpgradeAnnotations(annotation.UpgradeDescription{}),
		reconciler.WithUninstallAnnotations(annotation.UninstallDescription{}),
	}
	if watch.ReconcilePeriod != nil {
		options = append(options, reconciler.WithReconcilePeriod(watch.ReconcilePeriod.Duration))
	}
	if watch.MaxConcurrentReconciles != nil {
		options = append(options, reconciler.WithMaxConcurrentReconciles(*watch.MaxConcurrentReconciles))
	}
	made, err := reconciler.New(options...)
	if err != nil {
		return err
	}
	return made.SetupWithManager(to)
}
