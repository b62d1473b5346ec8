package job

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Type is the kind of value that a key takes.
type Type string

// The types of keys.
const (
	TypeSection  Type = "section"  // keys of its own
	TypeList     Type = "list"     // of sections, each written as "- key: value"
	TypeText     Type = "text"     //
	TypeChoice   Type = "choice"   // one of Values
	TypeLocation Type = "location" // a URL, or a path relative to the job file's folder
	TypeInteger  Type = "integer"  //
	TypeNumber   Type = "number"   //
	TypeBoolean  Type = "boolean"  //
	TypeRange    Type = "range"    // [lowest, highest], two numbers in this order
	TypePair     Type = "pair"     // [a, b], two numbers in any order
	TypeNumbers  Type = "numbers"  // a list of numbers
)

// Field documents one key of the job file. The decoder uses the same description.
type Field struct {
	Path     string        `json:"path"`               // with dots; * stands for the number of a list's element
	Type     Type          `json:"type"`               //
	Unit     string        `json:"unit,omitempty"`     // "" for a plain number or a text
	Required bool          `json:"required,omitempty"` // must be given wherever its section is
	Default  string        `json:"default,omitempty"`  // as YAML; "" when Required, and for a section
	Else     []Alternative `json:"else,omitempty"`     // defaults that depend on other keys; the first that fits wins
	Bounds   *Bounds       `json:"bounds,omitempty"`   // of the number, or of each number of the list
	Values   []string      `json:"values,omitempty"`   // what a choice may be, or an integer that has few values
	Only     *Condition    `json:"only,omitempty"`     // the key, or every key of the section, has an effect only then
	Meaning  string        `json:"meaning"`            // what it does, in a sentence or two
}

// Alternative is a default for jobs that fulfil a condition.
type Alternative struct {
	When    Condition `json:"when"`
	Default string    `json:"default"`
}

// Condition says that a key has one of some values. For a section these are "present" and "absent".
type Condition struct {
	Key    string   `json:"key"` // a Path; its * is the element that holds the field itself
	Values []string `json:"values"`
}

// String returns the condition in words.
func (c Condition) String() string {
	key := c.Key[strings.LastIndex(c.Key, "*.")+1:]
	values := strings.Join(c.Values, ", ")
	if i := strings.LastIndex(values, ", "); i >= 0 {
		values = values[:i] + " or" + values[i+1:]
	}
	return strings.TrimPrefix(key, ".") + " is " + values
}

// Bounds are the numbers that a key may have. math.MaxFloat64 stands for no bound.
type Bounds struct {
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	LowOpen  bool    `json:"low_open,omitempty"`  // Low itself is not allowed
	HighOpen bool    `json:"high_open,omitempty"` // High itself is not allowed
}

func atLeast(low float64) *Bounds       { return &Bounds{Low: low, High: math.MaxFloat64} }
func above(low float64) *Bounds         { return &Bounds{Low: low, LowOpen: true, High: math.MaxFloat64} }
func closed(low, high float64) *Bounds  { return &Bounds{Low: low, High: high} }
func afterTo(low, high float64) *Bounds { return &Bounds{Low: low, LowOpen: true, High: high} }
func toBefore(low, high float64) *Bounds {
	return &Bounds{Low: low, High: high, HighOpen: true}
}
func anyNumber() *Bounds { return &Bounds{Low: -math.MaxFloat64, High: math.MaxFloat64} }

// Hold says whether v is within the bounds; NaN never is.
func (b Bounds) Hold(v float64) bool {
	return v >= b.Low && v <= b.High && !(b.LowOpen && v == b.Low) && !(b.HighOpen && v == b.High)
}

// String returns the bounds in words that follow a noun, as in "above 0, at most 1"; "" when there are none.
func (b Bounds) String() string {
	low, high := plain(b.Low), plain(b.High)
	below, above := b.High < math.MaxFloat64, b.Low > -math.MaxFloat64
	switch {
	case !below && !above:
		return ""
	case !below && b.LowOpen:
		return "above " + low
	case !below:
		return "of " + low + " or more"
	case !above && b.HighOpen:
		return "below " + high
	case !above:
		return "of " + high + " or less"
	case b.LowOpen && b.HighOpen:
		return "above " + low + ", below " + high
	case b.LowOpen:
		return "above " + low + ", at most " + high
	case b.HighOpen:
		return "from " + low + " to below " + high
	}
	return "from " + low + " to " + high
}

// plain writes a bound without an exponent, when it is of a size that people write so.
func plain(x float64) string {
	if math.Abs(x) >= 1e12 {
		return strings.Replace(strconv.FormatFloat(x, 'g', -1, 64), "e+", "e", 1)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

// Expects says in words what value the field takes, as in "a whole number from 28 to 512".
func (f Field) Expects() string {
	each := ""
	if f.Bounds != nil {
		each = f.Bounds.String()
	}
	if len(f.Values) > 0 {
		return "one of " + strings.Join(f.Values, ", ")
	}
	switch f.Type {
	case TypeSection:
		return "a section of keys: " + strings.Join(childrenOf(f.Path), ", ")
	case TypeList:
		return "a list of sections, each starting with '- '"
	case TypeLocation:
		return "a URL, or a path relative to the job file"
	case TypeInteger:
		return join("a whole number", each)
	case TypeNumber:
		return join("a number", each)
	case TypeBoolean:
		return "true or false"
	case TypeRange:
		return join("[lowest, highest], two numbers", each)
	case TypePair:
		return join("[a, b], two numbers", each)
	case TypeNumbers:
		return join("a list of numbers", each)
	}
	return "a text"
}

func join(a, b string) string { return strings.TrimSuffix(a+" "+b, " ") }

// Fields documents every key of the job file, in the order of the documentation.
func Fields() []Field {
	return slices.Concat(
		jobFields(), datasetFields(), networkFields(),
		viewFields("views.teacher", "the teacher"), viewFields("views.student", "the student"),
		viewsFields(), lossFields(), optimizerFields(), scheduleFields(), runFields(),
	)
}

// index is Fields by path, and the keys of each section in order. The path of the whole job is "".
var index = sync.OnceValues(func() (byPath map[string]Field, children map[string][]string) {
	byPath, children = map[string]Field{}, map[string][]string{}
	for _, f := range Fields() {
		byPath[f.Path] = f
		parent, key := split(f.Path)
		children[parent] = append(children[parent], key)
	}
	return byPath, children
})

// fieldAt returns the field of a path, in which list elements have numbers.
func fieldAt(path string) (Field, bool) {
	byPath, _ := index()
	f, ok := byPath[pattern(path)]
	return f, ok
}

// childrenOf lists the keys of a section.
func childrenOf(section string) []string {
	_, children := index()
	return children[pattern(section)]
}

// split cuts the last key from a path.
func split(path string) (parent, key string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// below returns the path of a key in a section.
func below(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}
