package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/yaml"
)

func TestHelpBeginsWithWhatTheOperatorIs(t *testing.T) {
	var out bytes.Buffer
	if _, err := readSettings([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v", err)
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); first != about {
		t.Fatalf("it begins with %q", first)
	}
	for _, name := range []string{"--watches", "--metrics-listen", "--probes-listen", "--leader-elect", "--log-level", "--print-config", "WATCH_NAMESPACE"} {
		if !strings.Contains(out.String(), name) {
			t.Errorf("it does not tell %s", name)
		}
	}
}

func TestBadArgumentsAreRefusedByName(t *testing.T) {
	for _, arguments := range []string{"--log-level=loud", "--log-level=-7", "--log-level=panic", "--unheard-of", "more"} {
		_, err := readSettings([]string{arguments}, io.Discard)
		word := strings.TrimLeft(strings.Split(arguments, "=")[0], "-")
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: error %v", arguments, err)
		}
	}
}

func TestSettingsArePrintedAsTheyWereGiven(t *testing.T) {
	given, err := readSettings([]string{"--watches=/w", "--metrics-listen=0", "--probes-listen=127.0.0.1:1", "--leader-elect", "--log-level=debug"}, io.Discard)
	if err != nil || given.logLevel != zapcore.DebugLevel {
		t.Fatalf("error %v, level %v", err, given.logLevel)
	}
	var out bytes.Buffer
	given.print(&out)
	var printed struct {
		Watches         string
		LeaderElect     bool `json:"leader_elect"`
		Log             struct{ Level string }
		Metrics, Probes struct{ Listen string }
	}
	if err := yaml.UnmarshalStrict(out.Bytes(), &printed); err != nil {
		t.Fatal(err)
	}
	if printed.Watches != "/w" || !printed.LeaderElect || printed.Log.Level != "debug" || printed.Metrics.Listen != "0" || printed.Probes.Listen != "127.0.0.1:1" {
		t.Fatalf("printed %+v", printed)
	}
}

func TestLogLinesHaveTheKeysOfTheServices(t *testing.T) {
	var out bytes.Buffer
	logger := newLogger(zapcore.InfoLevel, &out)
	logger.V(1).Info("not told")
	logger.Error(errors.New("the cause"), "told")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if line["level"] != "error" || line["service"] != "operator" || line["message"] != "told" || line["error"] != "the cause" || line["time"] == nil {
		t.Errorf("line %v", line)
	}
	if line["stacktrace"] != nil {
		t.Error("a refused spec is no reason for a stack")
	}
}
