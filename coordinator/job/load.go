package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Load reads, completes and checks a job file. Paths in it are relative to its folder and become file:// URLs; URLs
// stay as they are. A file that can be read but is not a valid job gives an [*Error].
func Load(path string) (*Spec, error) { return LoadWith(path, nil) }

// LoadWith is Load with overrides, as [Decode] takes them. Paths in overrides, too, are relative to the file's folder.
func LoadWith(path string, overrides []string) (*Spec, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("load job: %w", err)
	}
	s, err := Decode(data, path, overrides)
	if err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("load job: %w", err)
	}
	for _, l := range s.locations() {
		*l.at = resolve(*l.at, folder)
	}
	return s, nil
}

// readFile reads at most one byte more than Decode takes, so that a huge file is not read.
func readFile(path string) (data []byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(io.LimitReader(file, maxBytes+1))
}

// Decode reads a job from the bytes of a file, sets the overrides, each "key.path=value" with a YAML value and list
// elements by number ("loss.0.weight=2"), fills in defaults, and checks the whole. The name is the file's in messages.
// Locations stay as they were written. Every fault of the job is in the one [*Error] that it returns.
//
// An override of steps replaces the epochs of the file, and the other way round.
func Decode(data []byte, name string, overrides []string) (*Spec, error) {
	root, faults := parse(data, name)
	if root == nil {
		return nil, newError(faults)
	}
	for _, o := range overrides {
		faults = append(faults, override(root, o)...)
	}
	d := &decoder{name: name, root: root, given: map[string]place{}, bad: map[string]bool{}, faults: faults}
	s := &Spec{}
	d.section(reflect.ValueOf(s).Elem(), root, "")
	d.defaults(s)
	d.check(s)
	if err := newError(d.faults); err != nil {
		return nil, err
	}
	return s, nil
}

// Validate checks a Spec that did not come from Decode, such as one that came as JSON. Nothing is filled in: what
// Decode returned is valid, a Spec with zeros where Decode sets a default need not be.
func (s *Spec) Validate() error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("validate job: %w", err)
	}
	_, err = Decode(data, "job", nil)
	var faulty *Error
	if errors.As(err, &faulty) {
		for i := range faulty.Faults {
			faulty.Faults[i].Line, faulty.Faults[i].Column = 0, 0 // nobody wrote these lines
		}
	}
	return err
}

// location is a key whose value is one.
type location struct {
	key string
	at  *string
}

func (s *Spec) locations() []location {
	l := []location{
		{"dataset.train", &s.Dataset.Train}, {"dataset.test", &s.Dataset.Test}, {"student.init", &s.Student.Init},
	}
	if s.Teacher != nil {
		l = append(l, location{"teacher.model", &s.Teacher.Model})
	}
	return l
}

// resolve makes a URL of a path relative to a folder; URLs and "" stay.
func resolve(path, folder string) string {
	if path == "" || isURL(path) {
		return path
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Clean(path))}).String()
}

// isURL says whether a location starts with a scheme and "://".
func isURL(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, "/.\\ ")
}
