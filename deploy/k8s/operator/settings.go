package main

import (
	"flag"
	"fmt"
	"io"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
)

// settings are the operator's flags.
type settings struct {
	watches       string
	metricsListen string
	probesListen  string
	leaderElect   bool
	logLevel      zapcore.Level
	printConfig   bool
	printVersion  bool
}

// readSettings takes the command line; --help goes to out and gives flag.ErrHelp.
func readSettings(arguments []string, out io.Writer) (settings, error) {
	var given settings
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&given.watches, "watches", "/watches.yaml", "the `file` that names resources and their charts")
	flags.StringVar(&given.metricsListen, "metrics-listen", ":8080", "`address` of /metrics; 0 for none")
	flags.StringVar(&given.probesListen, "probes-listen", ":8081", "`address` of /healthz and /readyz")
	flags.BoolVar(&given.leaderElect, "leader-elect", false, "work only while no other operator of the namespace does")
	flags.Func("log-level", "`level` of the log: debug, info, warn or error (info)", given.setLogLevel)
	flags.BoolVar(&given.printConfig, "print-config", false, "show the settings as YAML and end")
	flags.BoolVar(&given.printVersion, "version", false, "show the version and end")
	config.RegisterFlags(flags)
	err := flags.Parse(arguments)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == flag.ErrHelp {
		// In one piece: who reads it may be gone before its end.
		text := about + "\nIt works in the namespaces of WATCH_NAMESPACE, a list with commas; without it, in all.\n\n"
		flags.VisitAll(func(one *flag.Flag) { text += explain(one) })
		_, _ = io.WriteString(out, text)
	}
	return given, err
}

func explain(one *flag.Flag) string {
	value, usage := flag.UnquoteUsage(one)
	builtIn := ""
	if one.DefValue != "" && one.DefValue != "false" {
		builtIn = fmt.Sprintf(" (%s)", one.DefValue)
	}
	return fmt.Sprintf("  --%-24s %s%s\n", one.Name+" "+value, usage, builtIn)
}

// setLogLevel keeps to levels at which no Secret is logged: the library's further ones show whole manifests.
func (given *settings) setLogLevel(text string) error {
	level, err := zapcore.ParseLevel(text)
	if err == nil && level > zapcore.ErrorLevel {
		err = fmt.Errorf("unrecognized level: %q", text)
	}
	given.logLevel = level
	return err
}

// print has the form of the services' --print-config.
func (given *settings) print(out io.Writer) {
	fmt.Fprintf(out, "watches: %q\nleader_elect: %t\nlog:\n  level: %s\nmetrics:\n  listen: %q\nprobes:\n  listen: %q\n",
		given.watches, given.leaderElect, given.logLevel, given.metricsListen, given.probesListen)
}
