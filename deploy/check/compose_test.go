package check_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// composed is the compose file, as docker compose reads it.
func composed(t *testing.T) *types.Project {
	t.Helper()
	file, err := filepath.Abs("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: filepath.Dir(file), Environment: types.Mapping{"PUPIL_SHARED": "/srv/shared"},
		ConfigFiles: []types.ConfigFile{{Filename: file, Content: read(t, file)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCompose holds the compose file to its schema, its commands to the programs, and its containers to few rights.
func TestCompose(t *testing.T) {
	p := composed(t)
	if len(p.Services) != 2 {
		t.Errorf("services: %s", p.ServiceNames())
	}
	for _, s := range p.Services {
		name := strings.TrimPrefix(s.Image, "pupil/")
		checkCommand(t, s.Name, name, s.Command)
		for variable := range s.Environment {
			checkVariable(t, s.Name, name, s.Command[0], variable)
		}
		if s.Build == nil || s.Build.Target != name || s.Build.Dockerfile != "deploy/Containerfile" {
			t.Errorf("%s is built from %+v", s.Name, s.Build)
		}
		if !s.ReadOnly || s.User != "65532:65532" || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.Privileged ||
			len(s.SecurityOpt) != 1 || s.SecurityOpt[0] != "no-new-privileges:true" {
			t.Errorf("%s has more rights than it needs", s.Name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s can be reached from other hosts at %s", s.Name, port.Published)
			}
		}
		for _, argument := range s.Command { // hosts are services
			if _, rest, ok := strings.Cut(argument, "://"); ok {
				host, _, _ := strings.Cut(rest, ":")
				if _, ok := p.Services[host]; !ok {
					t.Errorf("%s: %s names no service", s.Name, argument)
				}
			}
		}
	}
}
