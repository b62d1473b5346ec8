package job

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// overrideSource is the source of faults in overrides, after the flag that gives them.
const overrideSource = "--set"

// override sets one key of a file's nodes, as in "optimizer.name=sgd" or "loss.0.weight=2". The value is YAML; a text
// needs no quotes.
func override(root *yaml.Node, text string) []Fault {
	key, value, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	fault := func(format string, args ...any) []Fault {
		return []Fault{{Source: overrideSource, Key: shorten(key), Message: fmt.Sprintf(format, args...)}}
	}
	if !ok || key == "" {
		key = ""
		return fault("%q is not key=value, as in steps=40 or loss.0.weight=2", shorten(text))
	}
	keys := strings.Split(key, ".")
	if message := checkPath(keys); message != "" {
		return fault("%s", message)
	}
	f, _ := fieldAt(key)
	node, message := overrideValue(f, value)
	if message != "" {
		return fault("%s", message)
	}
	slot, message := find(root, keys)
	if message != "" {
		return fault("%s", message)
	}
	if slot != nil { // nil: inside of something that has a fault in the file
		*slot = *node
		replaceRival(root, key)
	}
	return nil
}

// replaceRival lets an override of steps take the place of the file's epochs, and the other way round.
func replaceRival(root *yaml.Node, key string) {
	rival, ok := map[string]string{"steps": "epochs", "epochs": "steps"}[key]
	if !ok {
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == rival && root.Content[i+1].Line > 0 {
			root.Content = slices.Delete(root.Content, i, i+2)
			return
		}
	}
}

// checkPath says what is wrong with a path, whatever the file has.
func checkPath(keys []string) string {
	path := ""
	for i, key := range keys {
		f, _ := fieldAt(path)
		child := below(path, key)
		_, known := fieldAt(child)
		_, err := strconv.ParseUint(key, 10, 16)
		switch {
		case f.Type == TypeList && err != nil:
			return fmt.Sprintf("%s is a list, and %q is not a number; its elements are %s.0, %s.1 and so on", path, shorten(key),
				path, path)
		case f.Type == TypeList:
		case path != "" && f.Type != TypeSection:
			return fmt.Sprintf("unknown key; %s has no keys below it", path)
		case !known && removed()[child] != "":
			return removed()[child]
		case !known || key == "*":
			advice, _ := suggest(path, key, strings.Join(append([]string{""}, keys[i+1:]...), "."))
			return "unknown key; " + advice
		}
		path = child
	}
	return ""
}

// find returns the node of a path's value, and makes it and what leads to it when the file does not have it. It
// returns nil when the file has something else than a section on the way.
func find(root *yaml.Node, keys []string) (at *yaml.Node, message string) {
	at, path := root, ""
	for _, key := range keys {
		f, _ := fieldAt(path)
		if at, message = step(at, f.Type == TypeList, key, path); at == nil {
			return nil, message
		}
		path = below(path, key)
	}
	return at, ""
}

// step goes from a section or list to one of its values.
func step(at *yaml.Node, list bool, key, path string) (*yaml.Node, string) {
	if isNull(at) { // a section without keys, or one that was not there
		*at = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}
		if list {
			at.Kind, at.Tag = yaml.SequenceNode, "!!seq"
		}
	}
	empty := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	switch {
	case list && at.Kind == yaml.SequenceNode:
		i, _ := strconv.Atoi(key) // checkPath has looked at it
		if i > len(at.Content) {
			return nil, fmt.Sprintf("%s has %s, so there is no number %d; the next is %s.%d",
				path, count(len(at.Content), "element"), i, path, len(at.Content))
		}
		if i == len(at.Content) {
			at.Content = append(at.Content, empty)
		}
		return at.Content[i], ""
	case !list && at.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(at.Content); i += 2 {
			if at.Content[i].Value == key {
				return at.Content[i+1], ""
			}
		}
		at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, empty)
		return empty, ""
	}
	return nil, ""
}

// overrideValue parses the value of an override. Nodes without lines mark where it came from.
func overrideValue(f Field, value string) (*yaml.Node, string) {
	if len(value) > maxBytes {
		return nil, "is larger than 1 MB"
	}
	document := &yaml.Node{}
	err := yaml.Unmarshal([]byte(value), document)
	scalar := err == nil && len(document.Content) == 1 && document.Content[0].Kind == yaml.ScalarNode
	switch {
	case f.Type == TypeText || f.Type == TypeLocation || f.Type == TypeChoice:
		text := value
		if scalar {
			text = document.Content[0].Value
		}
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}, ""
	case err != nil:
		return nil, fmt.Sprintf("is %q, which is not YAML; give %s", shorten(value), f.Expects())
	case len(document.Content) == 0 || scalar && document.Content[0].Value == "" && isNull(document.Content[0]):
		return nil, "has no value; give " + f.Expects()
	}
	node := document.Content[0]
	if faults := anchors(node, overrideSource); len(faults) > 0 {
		return nil, faults[0].Message
	}
	forgetLines(node)
	return node, ""
}

func forgetLines(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		forgetLines(c)
	}
}
