package job

import (
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// maxFaults bounds the list: a file with more faults is not a job file with mistakes in it, but something else.
const maxFaults = 200

// place is where a key was given.
type place struct{ key, value *yaml.Node }

// decoder turns the nodes of a file into a Spec, and remembers which keys were given, and where.
type decoder struct {
	name   string
	root   *yaml.Node
	given  map[string]place // by path
	bad    map[string]bool  // given, but with a fault of its own: checks that involve it say nothing more
	faults []Fault
}

// faultAt adds a fault at a node. Nodes of overrides have no line.
func (d *decoder) faultAt(n *yaml.Node, key, format string, args ...any) {
	d.bad[key] = true
	if len(d.faults) > maxFaults {
		return
	}
	f := Fault{Source: d.name, Line: n.Line, Column: n.Column, Key: key, Message: fmt.Sprintf(format, args...)}
	if n.Line == 0 {
		f.Source = overrideSource
	}
	if d.faults = append(d.faults, f); len(d.faults) == maxFaults {
		d.faults = append(d.faults, Fault{Source: f.Source, Message: fmt.Sprintf("has more faults than these %d; mend "+
			"them first", maxFaults)})
	}
}

// fault adds a fault at a key's value, or where it would stand: at the nearest section that was given.
func (d *decoder) fault(key, format string, args ...any) {
	if p, ok := d.given[key]; ok {
		d.faultAt(p.value, key, format, args...)
		return
	}
	for parent, _ := split(key); parent != ""; parent, _ = split(parent) {
		if p, ok := d.given[parent]; ok {
			at := p.key
			if p.value.Line == 0 {
				at = p.value // of an override
			}
			d.faultAt(at, key, format, args...)
			return
		}
	}
	d.faultAt(d.root, key, format, args...)
}

// ok says whether keys can be compared: none has a fault of its own.
func (d *decoder) ok(keys ...string) bool {
	for _, key := range keys {
		for path := key; path != ""; path, _ = split(path) {
			if d.bad[path] {
				return false
			}
		}
	}
	return true
}

// section reads the keys of a mapping into a struct.
func (d *decoder) section(v reflect.Value, n *yaml.Node, path string) {
	for i := 0; i+1 < len(n.Content) && len(d.faults) <= maxFaults; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode || key.ShortTag() == "!!merge" && value.Kind == yaml.AliasNode {
			continue // the alias has its own fault
		}
		if key.Kind != yaml.ScalarNode {
			d.faultAt(key, path, "a key is %s; give a plain name", describe(key))
			continue
		}
		child := below(path, key.Value)
		field, ok := fieldOf(v, key.Value)
		if !ok {
			if advice, ok := removed()[child]; ok {
				d.faultAt(key, child, "%s", advice)
				continue
			}
			advice, near := suggest(path, key.Value, "")
			d.faultAt(key, below(path, printable(key.Value)), "unknown key; %s", advice)
			d.bad[near] = true // most likely what was meant: do not say that it is missing, too
			continue
		}
		if first, ok := d.given[child]; ok {
			d.faultAt(key, child, "is given twice, first on line %d; remove one", first.key.Line)
			continue
		}
		d.given[child] = place{key, value}
		d.value(field, value, child)
	}
}

// fieldOf returns the struct's field with a yaml name.
func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// value reads the value of a key.
func (d *decoder) value(v reflect.Value, n *yaml.Node, path string) {
	if n.Kind == yaml.AliasNode {
		d.bad[path] = true // the alias has its own fault
		return
	}
	f, _ := fieldAt(path)
	switch f.Type {
	case TypeSection:
		d.sectionValue(v, n, path, f)
	case TypeList:
		d.list(v, n, path, f)
	default:
		at, message := f.read(v, n)
		if at.Kind == yaml.AliasNode {
			d.bad[path] = true
		} else if message != "" {
			d.faultAt(at, path, "%s", message)
		}
	}
}

// sectionValue reads a section. Without keys it has the defaults; an optional one is nil when it is null in so many
// letters, but not when its keys are missing, which most likely were forgotten.
func (d *decoder) sectionValue(v reflect.Value, n *yaml.Node, path string, f Field) {
	optional := v.Kind() == reflect.Pointer
	switch {
	case isNull(n) && optional && n.Value != "":
		return
	case isNull(n) && optional:
		d.faultAt(n, path, "has no keys; give %s, or remove it", f.Expects())
	case isNull(n):
	case n.Kind != yaml.MappingNode || n.ShortTag() != "!!map":
		d.faultAt(n, path, "is %s; give %s", describe(n), f.Expects())
	default:
		if optional {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		d.section(v, n, path)
	}
}

// list reads a list of sections.
func (d *decoder) list(v reflect.Value, n *yaml.Node, path string, f Field) {
	switch {
	case n.Kind == yaml.MappingNode:
		d.faultAt(n, path, "is one section without a list; put '- ' before its first key, and two blanks before the others")
		return
	case n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq":
		d.faultAt(n, path, "is %s; give %s", describe(n), f.Expects())
		return
	case len(n.Content) == 0:
		d.faultAt(n, path, "is empty; give at least one element, or remove the key for the default")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	element, _ := fieldAt(f.Path + ".*")
	for i, item := range n.Content {
		child := below(path, strconv.Itoa(i))
		d.given[child] = place{item, item}
		if item.Kind == yaml.AliasNode {
			d.bad[child] = true
			continue
		}
		d.sectionValue(v.Index(i), item, child, element)
	}
}
