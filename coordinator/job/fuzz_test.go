package job_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

// FuzzDecode: whatever the file and the override, there is a Spec that survives JSON, or an Error with faults.
func FuzzDecode(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	faults, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(paths, faults...) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "steps=4")
		for _, o := range overridesIn(data) {
			f.Add(data, o)
		}
	}
	f.Add([]byte(strings.Repeat("[", 20_000)), "loss=[{name: kl}]")
	f.Add([]byte(strings.Repeat("a:\n ", 500)), "loss.99999999999999999999.weight=1")
	f.Add([]byte("name: a\ndataset: {train: b}\nteacher: {model: c}\nsteps: 1\nviews: {strength: 1e300, teacher: "+
		"{rotate: 1, crop: {scale: [0.001, 0.002], ratio: [0.3, 3]}}}"), "views.teacher.occlude={probability: 1e-300}")
	f.Add([]byte("\ufeffname: a\ndataset: {train: \"\\u2028\\ufeff\\x85\"}\nsteps: 1"), "name=\xff")
	f.Fuzz(func(t *testing.T, data []byte, override string) {
		s, err := job.Decode(data, "job.yaml", []string{override})
		if err != nil {
			var faulty *job.Error
			if !errors.As(err, &faulty) || len(faulty.Faults) == 0 || s != nil {
				t.Fatalf("%T: %v", err, err)
			}
			for _, f := range faulty.Faults {
				if f.Message == "" || f.Source == "" || strings.Contains(f.String(), "\n") {
					t.Fatalf("fault %+v", f)
				}
			}
			return
		}
		if len(s.Digest()) != 64 || s.Validate() != nil {
			t.Fatalf("%+v is not valid: %v", s, s.Validate())
		}
		s.Warnings()
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		back := &job.Spec{}
		if err := json.Unmarshal(text, back); err != nil || !reflect.DeepEqual(s, back) {
			t.Fatalf("JSON gives %+v, not %+v: %v", back, s, err)
		}
		if again, err := job.Decode(text, "again.json", nil); err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("its JSON as a job file gives %+v, not %+v: %v", again, s, err)
		}
	})
}
