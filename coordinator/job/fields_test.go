package job_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pupil/coordinator/job"
)

// TestFieldsAreTheSpec: each key of the struct is documented, and nothing else.
func TestFieldsAreTheSpec(t *testing.T) {
	var want []string
	var walk func(v reflect.Type, path string)
	walk = func(v reflect.Type, path string) {
		for i := range v.NumField() {
			f := v.Field(i)
			name := f.Tag.Get("yaml")
			if name != f.Tag.Get("json") {
				t.Errorf("%s%s: the yaml name is %q and the json name %q", path, f.Name, name, f.Tag.Get("json"))
			}
			want = append(want, path+name)
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			switch {
			case inner.Kind() == reflect.Struct:
				walk(inner, path+name+".")
			case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct:
				want = append(want, path+name+".*")
				walk(inner.Elem(), path+name+".*.")
			}
		}
	}
	walk(reflect.TypeFor[job.Spec](), "")
	var got []string
	for _, f := range job.Fields() {
		got = append(got, f.Path)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Fields has\n%q\nthe Spec has\n%q", got, want)
	}
}

func TestFieldsAreComplete(t *testing.T) {
	known := map[string]job.Field{}
	for _, f := range job.Fields() {
		known[f.Path] = f
	}
	check := func(f job.Field, c *job.Condition) {
		if c == nil {
			return
		}
		on, ok := known[c.Key]
		if !ok || len(c.Values) == 0 {
			t.Errorf("%s: depends on %q, which is no key", f.Path, c.Key)
		}
		for _, v := range c.Values {
			if on.Type == job.TypeChoice && !slices.Contains(on.Values, v) {
				t.Errorf("%s: depends on %s being %q, which it never is", f.Path, c.Key, v)
			}
		}
	}
	for _, f := range job.Fields() {
		if f.Meaning == "" || !strings.HasSuffix(f.Meaning, ".") {
			t.Errorf("%s: its meaning is %q; write sentences", f.Path, f.Meaning)
		}
		section := f.Type == job.TypeSection
		if section != (f.Default == "" && !f.Required) && !(section && f.Required) {
			t.Errorf("%s: a key has a default or is required, a section has none; this is %+v", f.Path, f)
		}
		if f.Type == job.TypeChoice && !slices.Contains(f.Values, f.Default) {
			t.Errorf("%s: the default %q is none of %q", f.Path, f.Default, f.Values)
		}
		check(f, f.Only)
		for _, a := range f.Else {
			check(f, &a.When)
		}
	}
}

// TestDefaultsCanBeWritten: each default, written into the file, is valid and changes nothing. So defaults are within
// their bounds.
func TestDefaultsCanBeWritten(t *testing.T) {
	// With a term whose keys have their first defaults: those of a term on pooled features differ.
	const first = "loss=[{features: logits, standardize: false, start: {kl: 1, hold: false}}]"
	plain := load(t, "minimal.yaml", first)
	for _, f := range job.Fields() {
		if f.Default == "" || f.Path == "loss" || f.Path == "steps" || f.Path == "epochs" {
			continue
		}
		key := strings.ReplaceAll(f.Path, "*", "0")
		if s := load(t, "minimal.yaml", first, key+"="+f.Default); !reflect.DeepEqual(s, plain) {
			t.Errorf("%s=%s gives %+v, not %+v", key, f.Default, s, plain)
		}
	}
}

// TestBoundsHold: what is just inside of a bound is taken, what is outside is not.
func TestBoundsHold(t *testing.T) {
	for _, c := range []struct {
		override string
		ok       bool
	}{
		{"student.size=28", true},
		{"student.size=512", true},
		{"student.size=27", false},
		{"student.size=513", false},
		{"student.width=16", true},
		{"student.width=0", false},
		{"student.width=16.01", false},
		{"student.width=5e-324", true},
		{"optimizer.momentum=0", true},
		{"optimizer.momentum=0.999", true},
		{"optimizer.momentum=1", false},
		{"loss.0.weight=1e308", true},
		{"loss.0.weight=1e309", false},
		{"loss.0.prior.deviation=-3", true},
		{"loss.0.prior.rate=1.99", true},
		{"loss.0.start.share=1", true},
		{"loss.0.start.share=0", false},
		{"views.student.crop.scale=[0.5, 0.5]", true},
		{"views.strength=1", true},
		{"views.strength=0.999", false},
		{"views.strength=1e308", true},
		{"loss.0.ramp={from: 0, to: 7, begin: 0.2, end: 0.3}", true},
		{"loss.0.ramp.begin=1", false},
		{"loss.0.ramp.end=0", false},
		{"loss.0.feature_groups=-1", false},
		{"collapse.information=0", true},
		{"collapse.information=1", false},
		{"health.rank_every=0", true},
		{"health.rank_every=-1", false},
		{"seed=18446744073709551615", true},
		{"seed=18446744073709551616", false},
		{"seed=0", true},
	} {
		_, err := job.LoadWith("testdata/minimal.yaml", []string{c.override})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.override, err)
		}
	}
}

// TestFieldsAsJSON: other programs read the documentation, too.
func TestFieldsAsJSON(t *testing.T) {
	data, err := json.Marshal(job.Fields())
	if err != nil {
		t.Fatal(err)
	}
	var back []job.Field
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, job.Fields()) {
		t.Error("Fields do not survive JSON")
	}
}

// TestDocumentation holds docs/job.md, which is made here.
func TestDocumentation(t *testing.T) {
	example, err := os.ReadFile("testdata/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b := &strings.Builder{}
	fmt.Fprintf(b, introduction, strings.TrimSpace(string(example)))
	b.WriteString("\n## The job\n")
	table(b, "", "")
	for _, f := range job.Fields() {
		if f.Type != job.TypeSection && f.Type != job.TypeList || strings.Contains(f.Path, ".") {
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n%s\n", f.Path, sentences(f))
		switch f.Path {
		case "views":
			sameViews(t)
			b.WriteString("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
			for _, f := range job.Fields() {
				if key, ok := strings.CutPrefix(f.Path, "views."); ok && f.Type != job.TypeSection && !strings.Contains(key, ".") {
					row(b, key, f)
				}
			}
			b.WriteString("\n`views.teacher` (used only when there is a teacher) and `views.student` have the same keys:\n")
			table(b, "views.student", "views.student")
			b.WriteString(strengths)
		case "loss":
			b.WriteString("\nA list: each term starts with `- `. Faults and `--set` number the terms from 0: `loss.0.weight`.\n")
			table(b, "loss.*", "loss.*")
		default:
			table(b, f.Path, f.Path)
		}
	}
	golden(t, "../../docs/job.md", b.String())
}

const introduction = "# The job file\n" + `
<!-- Made from coordinator/job by "go test ./coordinator/job -update". Edit the fields there. -->

A job file says what to train. It is YAML: one document of plain keys and values. Most keys have defaults; this is a
whole job:

` + "```yaml\n%s\n```" + `

` + "`coordinator validate JOB.yaml`" + ` lists every fault of a file at once, each with its line, and with ` + "`--json`" + `
prints the job with all defaults, which is a job file again.

- A key that is not listed here is a fault. So are duplicate keys, anchors and aliases, and a second document.
- Locations are URLs (` + "`file:///...`" + `) or paths relative to the job file's folder.
- ` + "`--set key=value`" + ` overrides one key, with a YAML value, as in
  ` + "`--set steps=40 --set loss.0.weight=2 --set teacher=null`" + `. An override of steps replaces the file's epochs, and
  the other way round.
- The job's digest covers everything that determines the student: all keys but name, checkpoint, evaluate, health
  (unless collapse.effective_rank is given), views.strength (the numbers derived by it count) and the locations, whose
  contents have digests of their own.
`

const strengths = `
With ` + "`views.strength: s`" + ` each key of views.student that the file does not give is derived from the teacher's;
` + "`coordinator validate --json`" + ` shows the numbers:

| key | derived |
| --- | --- |
| ` + "`crop.scale`" + ` | lowest: 1 - s (1 - lowest), not below 0.01; highest as it is |
| ` + "`crop.ratio`" + ` | both to the power of s, within 0.01 and 100 |
| ` + "`rotate`, `brightness`" + ` | times s, up to 180 and 100 |
| ` + "`occlude.probability`, `occlude.scale`" + ` | times s, up to 1 |
| ` + "`flip`, `occlude.ratio`, `occlude.value`, `normalize`" + ` | the teacher's |
`

// table writes the keys of a section, and after them those of the sections in it.
func table(b *strings.Builder, section, strip string) {
	b.WriteString("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
	var walk func(section string)
	walk = func(section string) {
		for _, f := range job.Fields() {
			i := strings.LastIndexByte(f.Path, '.')
			parent, isSection := f.Path[:max(i, 0)], f.Type == job.TypeSection
			if parent != section || section == "" && (isSection || f.Type == job.TypeList) {
				continue
			}
			key := strings.TrimPrefix(strings.TrimPrefix(f.Path, strip), ".")
			if isSection {
				fmt.Fprintf(b, "| **`%s`** | keys below | | %s |\n", key, sentences(f))
				walk(f.Path)
				continue
			}
			row(b, key, f)
		}
	}
	walk(section)
}

func row(b *strings.Builder, key string, f job.Field) {
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, value(f), defaults(f), sentences(f))
}

func value(f job.Field) string {
	text := f.Expects()
	if len(f.Values) > 0 {
		text = "`" + strings.Join(f.Values, "`, `") + "`"
	}
	if f.Unit != "" {
		text += " (" + f.Unit + ")"
	}
	return text
}

func defaults(f job.Field) string {
	if f.Required {
		return "required"
	}
	text := "`" + f.Default + "`"
	for _, a := range f.Else {
		text += fmt.Sprintf("; `%s` when %s", a.Default, a.When)
	}
	return text
}

// sentences is a field's meaning, for a table of Markdown.
func sentences(f job.Field) string {
	text := strings.ReplaceAll(f.Meaning, "|", `\|`)
	if f.Only != nil {
		text += " Only when " + f.Only.String() + "."
	}
	return text
}

// sameViews holds that the document may show the keys of one view for both.
func sameViews(t *testing.T) {
	t.Helper()
	views := map[string][]job.Field{}
	for _, f := range job.Fields() {
		for _, of := range []string{"views.teacher.", "views.student."} {
			if key, ok := strings.CutPrefix(f.Path, of); ok {
				f.Path = key
				views[of] = append(views[of], f)
			}
		}
	}
	if !reflect.DeepEqual(views["views.teacher."], views["views.student."]) {
		t.Error("the two views differ in their keys")
	}
}
