package job

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// defaults fills in the keys that were not given, and reports those that must be. First the defaults that stand alone,
// then those that depend on other keys, which by then have their values, last what views.strength derives.
func (d *decoder) defaults(s *Spec) {
	v := reflect.ValueOf(s).Elem()
	d.fill(v, v, "", false)
	d.fill(v, v, "", true)
	if s.derives() {
		d.derive(&s.Views)
	}
}

// fill sets the defaults of a section's keys; root is the whole Spec.
func (d *decoder) fill(root, section reflect.Value, path string, dependent bool) {
	for i := range section.NumField() {
		child := below(path, section.Type().Field(i).Tag.Get("yaml"))
		v := section.Field(i)
		f, _ := fieldAt(child)
		_, given := d.given[child]
		switch {
		case f.Type == TypeSection:
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			if v.IsValid() {
				d.fill(root, v, child, dependent)
			}
		case f.Type == TypeList:
			if !given && v.Len() == 0 {
				v.Set(reflect.MakeSlice(v.Type(), 1, 1)) // the default, [{}]
			}
			for i := range v.Len() {
				d.fill(root, v.Index(i), below(child, strconv.Itoa(i)), dependent)
			}
		case given || dependent != (len(f.Else) > 0):
		case f.Required:
			if d.ok(child) {
				d.fault(child, "is missing; give %s", f.Expects())
			}
		default:
			setDefault(v, f, f.defaultIn(root, child))
		}
	}
}

// setDefault reads a default as the file's values are read.
func setDefault(v reflect.Value, f Field, text string) {
	n := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(text), n); err == nil && len(n.Content) == 1 {
		f.read(v, n.Content[0])
	}
}

// defaultIn returns the default that a field has beside the other keys of a Spec.
func (f Field) defaultIn(root reflect.Value, path string) string {
	for _, a := range f.Else {
		if a.When.holds(root, path) {
			return a.Default
		}
	}
	return f.Default
}

// holds says whether the condition of the field at a path is fulfilled.
func (c Condition) holds(root reflect.Value, path string) bool {
	key := strings.Split(c.Key, ".")
	for i, k := range strings.Split(path, ".") {
		if i < len(key) && key[i] == "*" {
			key[i] = k
		}
	}
	return slices.Contains(c.Values, textAt(root, key))
}

// textAt returns the value at a path as text; of an optional section, whether it is there.
func textAt(v reflect.Value, path []string) string {
	for _, key := range path {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return ""
			}
			v = v.Elem()
		}
		if v.Kind() == reflect.Slice {
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= v.Len() {
				return ""
			}
			v = v.Index(i)
			continue
		}
		field, ok := fieldOf(v, key)
		if !ok {
			return ""
		}
		v = field
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "absent"
		}
		return "present"
	}
	return fmt.Sprint(v.Interface())
}
