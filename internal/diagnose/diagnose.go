// Package diagnose describes the process that it runs in, for somebody who looks for a fault: build, machine, memory,
// goroutines. It tells no secret: no command line, and of the environment the names of Pupil's own variables alone.
package diagnose

import (
	"bytes"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/cpu"

	"pupil/internal/version"
)

// Process describes a process.
type Process struct {
	Program     string    `json:"program"`
	Time        time.Time `json:"time"`
	Build       string    `json:"build"`
	Numerics    int       `json:"numerics"`
	Go          string    `json:"go"`
	OS          string    `json:"os"`
	Arch        string    `json:"arch"`
	System      string    `json:"system"` // the distribution, and the kernel's release
	Host        string    `json:"host"`
	PID         int       `json:"pid"`
	CPUs        int       `json:"cpus"`
	GOMAXPROCS  int       `json:"gomaxprocs"`
	CPUFeatures []string  `json:"cpu_features"`
	Kernels     string    `json:"kernels"` // that it computes with; "": none
	Heap        uint64    `json:"heap_bytes"`
	MemoryLimit int64     `json:"memory_limit_bytes"` // of the Go runtime
	Goroutines  int       `json:"goroutines"`
	Environment []string  `json:"environment"` // names of Pupil's variables that are set
	Stacks      string    `json:"stacks"`      // of all goroutines
}

// maxStacks is the longest text of stacks, in bytes.
const maxStacks = 1 << 20

// Read describes this process.
func Read(program, kernels string) Process {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p := Process{
		Program: program, Time: time.Now().UTC(), Build: version.String(), Numerics: version.Numerics(), Go: runtime.Version(),
		OS: runtime.GOOS, Arch: runtime.GOARCH, System: system(), PID: os.Getpid(), CPUs: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0), CPUFeatures: features(), Kernels: kernels, Heap: m.HeapAlloc,
		MemoryLimit: debug.SetMemoryLimit(-1), Goroutines: runtime.NumGoroutine(), Environment: []string{},
	}
	p.Host, _ = os.Hostname()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PUPIL_") || strings.HasPrefix(name, "GO") {
			p.Environment = append(p.Environment, name)
		}
	}
	slices.Sort(p.Environment)
	var stacks bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1) // without arguments of functions; a buffer takes everything
	p.Stacks = stacks.String()
	if len(p.Stacks) > maxStacks {
		p.Stacks = strings.ToValidUTF8(p.Stacks[:maxStacks], "") + "\n(cut)\n"
	}
	return p
}

// system names the distribution and the kernel's release, as far as files tell.
func system() string {
	var parts []string
	if data, err := os.ReadFile("/etc/os-release"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				parts = append(parts, strings.Trim(name, `"`))
			}
		}
	}
	if data, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		parts = append(parts, strings.TrimSpace(string(data)))
	}
	return strings.Join(parts, ", ")
}

// features are those of the CPU that Go knows of.
func features() []string {
	all := []string{}
	for _, set := range []any{cpu.X86, cpu.ARM64} {
		v := reflect.ValueOf(set)
		for i := range v.NumField() {
			if name, ok := strings.CutPrefix(v.Type().Field(i).Name, "Has"); ok && v.Field(i).Bool() {
				all = append(all, strings.ToLower(name))
			}
		}
	}
	return all
}
