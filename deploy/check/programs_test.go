package check_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const root = "../.."

// built holds the programs of this tree.
var built struct {
	sync.Once
	folder string
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.folder != "" {
		_ = os.RemoveAll(built.folder)
	}
	os.Exit(code)
}

// program is a program of this tree: coordinator or worker.
func program(t *testing.T, name string) string {
	t.Helper()
	built.Do(func() {
		if built.folder, built.err = os.MkdirTemp("", "pupil-check-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", built.folder+"/", "./coordinator", "./worker")
		build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.folder, name)
}

// helps remembers what programs say of their commands.
var helps sync.Map

var flagInHelp = regexp.MustCompile(`(?m)^\s+(?:-[a-z], )?--([a-z][-a-z0-9]*)`)

// flags are those that a command of a program has, by its own help.
func flags(t *testing.T, name, command string) []string {
	t.Helper()
	if known, ok := helps.Load(name + " " + command); ok {
		return known.([]string)
	}
	out, err := exec.Command(program(t, name), command, "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(out), name+" "+command+" ") {
		t.Fatalf("%s has no command %q: %v\n%s", name, command, err, out)
	}
	var all []string
	for _, m := range flagInHelp.FindAllStringSubmatch(string(out), -1) {
		all = append(all, m[1])
	}
	helps.Store(name+" "+command, all)
	return all
}

// checkCommand wants a command line whose command and flags the program has.
func checkCommand(t *testing.T, at, name string, args []string) {
	t.Helper()
	if len(args) == 0 {
		t.Errorf("%s: %s gets no command", at, name)
		return
	}
	known := flags(t, name, args[0])
	for _, arg := range args[1:] {
		flag, ok := strings.CutPrefix(arg, "--")
		flag, _, _ = strings.Cut(flag, "=")
		if !ok || !slices.Contains(known, flag) {
			t.Errorf("%s: %s %s does not know %s", at, name, args[0], arg)
		}
	}
}

// checkVariable wants a variable PUPIL_... to be that of a flag, or in the documents.
func checkVariable(t *testing.T, at, name, command, variable string) {
	t.Helper()
	short, ok := strings.CutPrefix(variable, "PUPIL_")
	if !ok || slices.Contains(flags(t, name, command), strings.ToLower(strings.ReplaceAll(short, "_", "-"))) {
		return
	}
	if !strings.Contains(string(read(t, root+"/docs/storage.md")), variable) {
		t.Errorf("%s: %s %s does not know %s", at, name, command, variable)
	}
}

var expansion = regexp.MustCompile(`\$\(([A-Z_]+)\)`)

// checkPrograms wants the arguments and variables of each container to be those that its program has.
func checkPrograms(t *testing.T, r release) {
	t.Helper()
	found := 0
	for _, p := range pods(r) {
		for _, c := range p.containers() {
			at := p.name + "/" + c.Name
			name := programOf(c)
			if name == "" {
				continue
			}
			found++
			checkCommand(t, at, name, c.Args)
			for _, e := range c.Env {
				checkVariable(t, at, name, c.Args[0], e.Name)
			}
			texts := slices.Clone(c.Args)
			for _, m := range c.VolumeMounts {
				texts = append(texts, m.SubPathExpr)
			}
			for _, text := range texts {
				for _, m := range expansion.FindAllStringSubmatch(text, -1) {
					if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == m[1] }) {
						t.Errorf("%s: %s names a variable that the container does not have", at, text)
					}
				}
			}
			checkFiles(t, at, p, c)
			if value, ok := argument(c, "grace"); ok {
				grace, err := strconv.Atoi(strings.TrimSuffix(value, "s"))
				if err != nil || p.spec.TerminationGracePeriodSeconds == nil || *p.spec.TerminationGracePeriodSeconds <= int64(grace) {
					t.Errorf("%s: --grace=%s is not less than the time that the pod gets, %v", at, value, p.spec.TerminationGracePeriodSeconds)
				}
			}
		}
	}
	if found < 3 {
		t.Errorf("only %d containers run programs of ours", found)
	}
}

// programOf names the program of a container; "" for one that is not ours.
func programOf(c corev1.Container) string {
	for _, name := range []string{"coordinator", "worker"} {
		if strings.Contains(c.Image, "pupil/"+name+":") && len(c.Command) == 0 {
			return name
		}
	}
	return ""
}

// argument is the value of a flag of a container.
func argument(c corev1.Container, flag string) (string, bool) {
	for _, a := range c.Args {
		if value, ok := strings.CutPrefix(a, "--"+flag+"="); ok {
			return value, true
		}
	}
	return "", false
}

// checkFiles wants each file below /etc/pupil that an argument names to be mounted.
func checkFiles(t *testing.T, at string, p pod, c corev1.Container) {
	t.Helper()
	for _, a := range c.Args {
		_, file, ok := strings.Cut(a, "=")
		if !ok || !strings.HasPrefix(file, "/") {
			continue
		}
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return file == m.MountPath || strings.HasPrefix(file, m.MountPath+"/") && has(p, m.Name, strings.TrimPrefix(file, m.MountPath+"/"))
		}) {
			t.Errorf("%s: nothing is mounted for %s", at, a)
		}
	}
}

// has says whether a volume of a pod can have a file: when a secret's items are listed, it must be one of them.
func has(p pod, volume, file string) bool {
	for _, v := range p.spec.Volumes {
		if v.Name == volume && v.Secret != nil && len(v.Secret.Items) > 0 {
			return slices.ContainsFunc(v.Secret.Items, func(i corev1.KeyToPath) bool { return i.Path == file })
		}
	}
	return true
}
