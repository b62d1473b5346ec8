package job

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"pupil/internal/config/nearest"
)

// maxText is the longest text, in bytes; a location needs the most.
const maxText = 4096

// read sets v to the node's value, or returns the node that is wrong and why. It does not look at other keys.
func (f Field) read(v reflect.Value, n *yaml.Node) (at *yaml.Node, message string) {
	switch f.Type {
	case TypeInteger:
		return n, f.readInteger(v, n)
	case TypeNumber:
		x, message := f.number(n)
		v.SetFloat(x)
		return n, message
	case TypeBoolean:
		b, err := strconv.ParseBool(n.Value)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || err != nil {
			return n, f.wrongType(n)
		}
		v.SetBool(b)
		return n, ""
	case TypeRange, TypePair, TypeNumbers:
		return f.readNumbers(v, n)
	}
	return n, f.readText(v, n)
}

func (f Field) wrongType(n *yaml.Node) string {
	return fmt.Sprintf("is %s; give %s", describe(n), f.Expects())
}

func (f Field) outOfBounds(text string) string {
	return fmt.Sprintf("is %s; give %s", shorten(text), f.Expects())
}

func (f Field) readInteger(v reflect.Value, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		return f.wrongType(n)
	}
	text := strings.ReplaceAll(n.Value, "_", "")
	if v.Kind() == reflect.Uint64 {
		u, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 0, 64)
		if err != nil {
			return fmt.Sprintf("is %s; give a whole number from 0 to %d", shorten(n.Value), uint64(math.MaxUint64))
		}
		v.SetUint(u)
		return ""
	}
	i, err := strconv.ParseInt(text, 0, 64)
	if err != nil || f.Bounds != nil && !f.Bounds.Hold(float64(i)) ||
		len(f.Values) > 0 && !slices.Contains(f.Values, strconv.FormatInt(i, 10)) {
		return f.outOfBounds(n.Value)
	}
	v.SetInt(i)
	return ""
}

// number reads a finite number within the field's bounds.
func (f Field) number(n *yaml.Node) (float64, string) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		return 0, f.wrongType(n)
	}
	x, err := parseNumber(strings.ReplaceAll(n.Value, "_", ""), tag)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) || f.Bounds != nil && !f.Bounds.Hold(x) {
		return 0, f.outOfBounds(n.Value)
	}
	return x + 0, "" // -0 is 0, so that equal jobs have equal digests
}

func parseNumber(text, tag string) (float64, error) {
	if tag == "!!int" {
		if i, err := strconv.ParseInt(text, 0, 64); err == nil {
			return float64(i), nil
		}
	}
	return strconv.ParseFloat(text, 64)
}

// readNumbers reads a list into a slice, or into an array of its own length.
func (f Field) readNumbers(v reflect.Value, n *yaml.Node) (*yaml.Node, string) {
	if f.Type == TypeNumbers && isNull(n) && n.Value != "" {
		return n, "" // a null in so many letters, as JSON writes an empty list
	}
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		return n, f.wrongType(n)
	}
	if v.Kind() == reflect.Array && len(n.Content) != v.Len() {
		return n, fmt.Sprintf("has %s; give %s", count(len(n.Content), "value"), f.Expects())
	}
	values := make([]float64, len(n.Content))
	for i, c := range n.Content {
		x, message := f.number(c)
		if message != "" {
			one := Field{Type: TypeNumber, Bounds: f.Bounds}
			_, message = one.number(c)
			return c, fmt.Sprintf("value %d %s", i+1, message)
		}
		values[i] = x
	}
	if f.Type == TypeRange && values[0] > values[1] {
		return n, fmt.Sprintf("is [%v, %v], the higher first; give [%v, %v]", values[0], values[1], values[1], values[0])
	}
	if v.Kind() == reflect.Array {
		for i, x := range values {
			v.Index(i).SetFloat(x)
		}
	} else if len(values) > 0 {
		v.Set(reflect.ValueOf(values))
	}
	return n, ""
}

func (f Field) readText(v reflect.Value, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return f.wrongType(n)
	}
	switch n.ShortTag() {
	case "!!str":
	case "!!int", "!!float", "!!bool", "!!timestamp":
		if f.Type != TypeChoice {
			return fmt.Sprintf("is %s, where a text belongs; put it into quotes", describe(n))
		}
		return f.wrongType(n)
	default:
		return f.wrongType(n)
	}
	text := n.Value
	switch {
	case len(text) > maxText:
		return fmt.Sprintf("has %d bytes; give at most %d", len(text), maxText)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return "holds control characters; give plain text"
	case f.Required && text == "":
		return "is empty; give " + f.Expects()
	case f.Type == TypeChoice && !slices.Contains(f.Values, text):
		near := nearest.Word(text, f.Values)
		if near == "" {
			return fmt.Sprintf("is %q; give %s", shorten(text), f.Expects())
		}
		return fmt.Sprintf("is %q, and the nearest is %s; give %s", shorten(text), near, f.Expects())
	}
	v.SetString(text)
	return ""
}
