package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

// program is a command tree like those of the two mains. It prints what its flags ended up with.
func program() *cobra.Command {
	root := &cobra.Command{
		Use: "program", SilenceUsage: true, SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return config.Apply(cmd) },
	}
	config.AddFlags(root)
	run := &cobra.Command{Use: "run", RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd) }}
	run.Flags().Int("workers", 1, "")
	run.Flags().Bool("detach", false, "")
	run.Flags().Float64("share", 0.5, "")
	run.Flags().Duration("wait", time.Second, "")
	run.Flags().StringSlice("classes", nil, "")
	run.Flags().StringArray("set", nil, "")
	run.Flags().String("name", "", "")
	data := &cobra.Command{Use: "data"}
	pack := &cobra.Command{Use: "import", RunE: func(cmd *cobra.Command, _ []string) error { return show(cmd) }}
	pack.Flags().Int("workers", 2, "")
	pack.Flags().Int("shard-size", 1000, "")
	if err := pack.MarkFlagRequired("shard-size"); err != nil {
		panic(err)
	}
	data.AddCommand(pack)
	root.AddCommand(run, data)
	return root
}

func show(cmd *cobra.Command) error {
	for _, name := range []string{
		"workers", "detach", "share", "wait", "classes", "set", "name", "shard-size",
		"log-level", "log-format",
	} {
		if f := cmd.Flag(name); f != nil && (f.Changed || f.Value.String() != f.DefValue) {
			fmt.Fprintf(cmd.OutOrStdout(), "%s=%s ", name, f.Value)
		}
	}
	return nil
}

// start runs the program with a configuration file (none when it is empty), which is named program.yaml in errors.
func start(t *testing.T, yaml string, args ...string) (string, error) {
	t.Helper()
	folder := t.TempDir()
	if yaml != "" {
		path := filepath.Join(folder, "program.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	root := program()
	out := &bytes.Buffer{}
	root.SetOut(out)
	root.SetErr(io.Discard)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), folder+string(filepath.Separator), ""))
	}
	return strings.TrimSpace(out.String()), err
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		yaml string
		args []string
		want string
	}{
		{name: "defaults", args: []string{"run"}},
		{name: "flag", args: []string{"run", "--workers", "3"}, want: "workers=3"},
		{
			name: "environment", env: map[string]string{"PUPIL_WORKERS": "4", "PUPIL_LOG_LEVEL": "debug"}, args: []string{"run"},
			want: "workers=4 log-level=debug",
		},
		{name: "file", yaml: "workers: 5", args: []string{"run"}, want: "workers=5"},
		{name: "flag wins", env: map[string]string{"PUPIL_WORKERS": "4"}, yaml: "workers: 5", args: []string{
			"run",
			"--workers=3",
		}, want: "workers=3"},
		{name: "flag wins with its default", env: map[string]string{"PUPIL_WORKERS": "4"}, args: []string{
			"run",
			"--workers=1",
		}, want: "workers=1"},
		{
			name: "environment wins", env: map[string]string{"PUPIL_WORKERS": "4"}, yaml: "workers: 5", args: []string{"run"},
			want: "workers=4",
		},
		{
			name: "own section wins", yaml: "workers: 5\nrun: {workers: 6}\ndata: {import: {workers: 7}}", args: []string{"run"},
			want: "workers=6",
		},
		{name: "nested section", yaml: "workers: 5\ndata: {import: {workers: 7, shard-size: 10}}", args: []string{
			"data",
			"import",
		}, want: "workers=7 shard-size=10"},
		{
			name: "parent's section", yaml: "data: {workers: 8, import: {shard-size: 10}}", args: []string{"data", "import"},
			want: "workers=8 shard-size=10",
		},
		{
			name: "required flag", env: map[string]string{"PUPIL_SHARD_SIZE": "9"}, args: []string{"data", "import"},
			want: "shard-size=9",
		},
		{
			name: "types", yaml: "run:\n  detach: true\n  share: 0.25\n  wait: 1m\n  classes: [a, b]\n  set: [steps=4, " +
				"seed=2]\n  name: x",
			args: []string{"run"}, want: "detach=true share=0.25 wait=1m0s classes=[a,b] set=[steps=4,seed=2] name=x",
		},
		{
			name: "lists from text", env: map[string]string{"PUPIL_CLASSES": "a,b", "PUPIL_SET": "steps=4"},
			args: []string{"run"}, want: "classes=[a,b] set=[steps=4]",
		},
		{name: "one value for a list", yaml: "classes: a", args: []string{"run"}, want: "classes=[a]"},
		{name: "empty list", yaml: "classes: []", args: []string{"run"}, want: "classes=[]"},
		{
			name: "empty variable", env: map[string]string{"PUPIL_NAME": ""}, yaml: "name: x", args: []string{"run"},
			want: "name=",
		},
		{name: "others' variables", env: map[string]string{"PUPIL_SERVICE_HOST": "10.0.0.1"}, args: []string{"run"}},
		{name: "empty file", yaml: "# nothing", args: []string{"run"}},
		{name: "section without keys", yaml: "run:\n  # workers: 4", args: []string{"run"}},
		{
			name: "another command's keys", yaml: "run: {workers: 4}\nshard-size: 2", args: []string{"data", "import"},
			want: "shard-size=2",
		},
		{name: "capitals", yaml: "Log-Level: warn", args: []string{"run"}, want: "log-level=warn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			got, err := start(t, c.yaml, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFileFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("workers: 9"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PUPIL_CONFIG", path)
	got, err := start(t, "", "run")
	if err != nil || got != "workers=9" {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err = start(t, "workers: 3", "run"); err != nil || got != "workers=3" {
		t.Errorf("with --config: got %q, %v", got, err)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		yaml string
		args []string
		want string
	}{
		{
			name: "variable", env: map[string]string{"PUPIL_WORKERS": "many"}, args: []string{"run"},
			want: `PUPIL_WORKERS: is "many"; give a whole number for --workers`,
		},
		{
			name: "file", yaml: "run: {wait: soon}", args: []string{"run"},
			want: `program.yaml: run.wait: is "soon"; give a duration, as in 500ms, 10s or 2m for --wait`,
		},
		{
			name: "all at once", env: map[string]string{"PUPIL_SHARE": "half"}, yaml: "wrokers: 4\ndetach: maybe",
			args: []string{"run"},
			want: "program.yaml: wrokers: unknown key; the nearest is workers\n" +
				"program.yaml: detach: is \"maybe\"; give true or false for --detach\n" +
				"PUPIL_SHARE: is \"half\"; give a number for --share",
		},
		{
			name: "unknown below", yaml: "data: {import: {shard_size: 4}}", args: []string{"run"},
			want: "program.yaml: data.import.shard_size: unknown key; the nearest is data.import.shard-size",
		},
		{
			name: "unknown subcommand", yaml: "dta: {import: {shard-size: 4}}", args: []string{"run"},
			want: "program.yaml: dta.import.shard-size: unknown key; the nearest is data",
		},
		{
			name: "nothing near", yaml: "data: {import: {zzz: 4}}", args: []string{"run"},
			want: "program.yaml: data.import.zzz: unknown key; program data import has log-format, log-level, shard-size, " +
				"workers",
		},
		{
			name: "another command's flag in a section", yaml: "data: {classes: [a]}", args: []string{"run"},
			want: "program.yaml: data.classes: unknown key; program data has log-format, log-level, shard-size, workers, import",
		},
		{
			name: "keys below a flag", yaml: "workers: {a: 1}", args: []string{"run"},
			want: "program.yaml: workers.a: unknown key; workers is a flag and has no keys below it\n" +
				"program.yaml: workers: has keys below it; give a single value",
		},
		{
			name: "value for a subcommand", yaml: "run: 4", args: []string{"run"},
			want: "program.yaml: run: is a subcommand; give its flags below it, as in 'run: {flag: value}'",
		},
		{
			name: "no value", yaml: "run: {workers: }", args: []string{"run"},
			want: "program.yaml: run.workers: has no value; give one, or remove the key",
		},
		{
			name: "list for one value", yaml: "workers: [1, 2]", args: []string{"run"},
			want: "program.yaml: workers: is a list; give a whole number",
		},
		{
			name: "word", yaml: "log-level: warning", args: []string{"run"},
			want: `program.yaml: log-level: is "warning"; give one of debug, info, warn, error for --log-level`,
		},
		{
			name: "file in file", yaml: "config: other.yaml", args: []string{"run"},
			want: "program.yaml: config: a file cannot name another; give --config on the command line",
		},
		{
			name: "missing file", args: []string{"run", "--config", "/nowhere/c.yaml"},
			want: "--config: open /nowhere/c.yaml: no such file or directory",
		},
		{
			name: "missing file in the environment", env: map[string]string{"PUPIL_CONFIG": "/nowhere/c.yaml"},
			args: []string{"run"},
			want: "PUPIL_CONFIG: open /nowhere/c.yaml: no such file or directory",
		},
		{
			name: "flag", args: []string{"run", "--log-format", "xml"},
			want: `invalid argument "xml" for "--log-format" flag: unknown word; give one of text, json`,
		},
		{
			name: "required flag is still required", yaml: "run: {workers: 4}", args: []string{"data", "import"},
			want: `required flag(s) "shard-size" not set`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			out, err := start(t, c.yaml, c.args...)
			if err == nil {
				t.Fatalf("no error; flags %q", out)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestFileThatIsNotYAML(t *testing.T) {
	for name, text := range map[string]string{
		"syntax":        "workers: [",
		"duplicate key": "workers: 1\nworkers: 2",
		"no keys":       "- workers",
		"too large":     "# " + strings.Repeat("x", 1<<20),
		"alias bomb":    bomb(),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := start(t, text, "run"); err == nil || !strings.HasPrefix(err.Error(), "--config: program.yaml") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// bomb is a small file that would be a huge one with its aliases written out.
func bomb() string {
	b := strings.Builder{}
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

func TestLogger(t *testing.T) {
	for _, c := range []struct{ args, want, never string }{
		{"run", "level=INFO msg=hello step=4", "quiet"},
		{"run --log-format json", `"msg":"hello","step":4`, "quiet"},
		{"run --log-level debug", "level=DEBUG msg=quiet", "\x00"},
		{"run --log-level error", "", "hello"},
	} {
		t.Run(c.args, func(t *testing.T) {
			root := program()
			run, _, err := root.Find([]string{"run"})
			if err != nil {
				t.Fatal(err)
			}
			run.RunE = func(cmd *cobra.Command, _ []string) error {
				logger, err := config.Logger(cmd)
				if err != nil {
					return err
				}
				logger.Debug("quiet")
				logger.Info("hello", "step", 4)
				return nil
			}
			text := &bytes.Buffer{}
			root.SetErr(text)
			root.SetArgs(strings.Fields(c.args))
			if err := root.Execute(); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text.String(), c.want) || strings.Contains(text.String(), c.never) {
				t.Errorf("logged %q", text)
			}
		})
	}
}

func TestLoggerFaults(t *testing.T) {
	if _, err := config.Logger(&cobra.Command{Use: "bare"}); err == nil {
		t.Error("a command without log flags: no error")
	}
	for _, c := range [][2]string{{"loud", "text"}, {"info", "xml"}} {
		if _, err := config.NewLogger(io.Discard, c[0], c[1]); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
}

func Example() {
	root := &cobra.Command{
		Use:               "worker",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return config.Apply(cmd) },
	}
	config.AddFlags(root)
	join := &cobra.Command{Use: "join", RunE: func(cmd *cobra.Command, _ []string) error {
		threads, err := cmd.Flags().GetInt("threads")
		fmt.Println("threads:", threads)
		return err
	}}
	join.Flags().Int("threads", 0, "goroutines that compute")
	root.AddCommand(join)

	if err := os.Setenv("PUPIL_THREADS", "4"); err != nil {
		fmt.Println(err)
	}
	defer func() { _ = os.Unsetenv("PUPIL_THREADS") }()
	root.SetArgs([]string{"join"})
	if err := root.Execute(); err != nil {
		fmt.Println(err)
	}
	// Output: threads: 4
}
