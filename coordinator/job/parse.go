package job

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxBytes is the largest job file. Real ones have a few kilobytes.
const maxBytes = 1 << 20

// parse reads the one document of a job file into nodes, which know their lines. Nil with a fault when there is nothing
// that the rest could be checked in.
func parse(data []byte, name string) (*yaml.Node, []Fault) {
	whole := func(line, column int, format string, args ...any) []Fault {
		return []Fault{{Source: name, Line: line, Column: column, Message: fmt.Sprintf(format, args...)}}
	}
	if len(data) > maxBytes {
		return nil, whole(0, 0, "is larger than 1 MB; a job file has a few kilobytes, is this the right file?")
	}
	if line, column, ok := firstInvalid(data); !ok {
		return nil, whole(line, column, "is not plain UTF-8 text; save the file as UTF-8, without control characters")
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	document := &yaml.Node{}
	if err := decoder.Decode(document); errors.Is(err, io.EOF) {
		return nil, whole(1, 1, "is empty; a job needs at least name, dataset.train, and steps or epochs")
	} else if err != nil {
		return nil, []Fault{syntaxFault(err, name)}
	}
	root := document.Content[0]
	faults := anchors(root, name)
	next := &yaml.Node{}
	if err := decoder.Decode(next); err == nil {
		faults = append(faults, whole(next.Line, next.Column, "a second document starts here; a file holds one job, put "+
			"this one into its own file")...)
	} else if !errors.Is(err, io.EOF) {
		faults = append(faults, syntaxFault(err, name))
	}
	if isNull(root) {
		return nil, append(faults, whole(1, 1, "is empty; a job needs at least name, dataset.train, and steps or epochs")...)
	}
	if root.Kind != yaml.MappingNode {
		return nil, append(faults, whole(root.Line, root.Column, "is %s; a job is written as keys and values, as in "+
			"'name: faces'", describe(root))...)
	}
	return root, faults
}

// firstInvalid finds the first character that is not UTF-8, or a control character.
func firstInvalid(data []byte) (line, column int, ok bool) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1, r < ' ' && !strings.ContainsRune("\t\r\n", r), r == 0x7f:
			return line, column, false
		case r == '\n':
			line, column = line+1, 1
		default:
			column++
		}
		data = data[size:]
	}
	return 0, 0, true
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntaxFault turns an error of the YAML library, which knows the line only, into a fault.
func syntaxFault(err error, name string) Fault {
	f := Fault{Source: name, Line: 1, Column: 1}
	message := err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if line, err := strconv.Atoi(m[1]); err == nil {
			f.Line = line
		}
	}
	hint := "look at the indentation (blanks, no tabs), colons, quotes and brackets of this line and those beside it"
	if strings.Contains(message, "anchor") {
		hint = anchorHint
	}
	f.Message = "is not YAML: " + message + "; " + hint
	return f
}

const anchorHint = "anchors, aliases and merge keys are not part of a job file, write the value out"

// anchors reports what would make the meaning of a line depend on another. Refusing it also leaves no room for a small
// file that means a huge one.
func anchors(n *yaml.Node, name string) []Fault {
	var faults []Fault
	add := func(what string) {
		faults = append(faults, Fault{Source: name, Line: n.Line, Column: n.Column, Message: what + "; " + anchorHint})
	}
	if n.Kind == yaml.AliasNode {
		add(fmt.Sprintf("uses the alias *%s", shorten(n.Value)))
		return faults // its target is not looked at, it has its own place
	}
	if n.Anchor != "" {
		add(fmt.Sprintf("sets the anchor &%s", shorten(n.Anchor)))
	}
	for _, c := range n.Content {
		faults = append(faults, anchors(c, name)...)
	}
	return faults
}

// isNull says whether a node has no value.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe names what a node is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "without a value"
	case "!!str":
		return fmt.Sprintf("the text %q", shorten(n.Value))
	case "!!int", "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return "the truth value " + n.Value
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("a value of the kind %s", shorten(n.ShortTag()))
}

// printable is a key as messages show it: one that is not plain text is quoted.
func printable(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(shorten(key))
	}
	return shorten(key)
}

// shorten cuts a user's text to what fits into a message.
func shorten(s string) string {
	const most = 40
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
