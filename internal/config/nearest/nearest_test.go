package nearest_test

import (
	"fmt"
	"strings"
	"testing"

	"pupil/internal/config/nearest"
)

func TestWord(t *testing.T) {
	known := []string{"learning_rate", "weight_decay", "name", "log-level", "steps"}
	for word, want := range map[string]string{
		"learning_rat":           "learning_rate",
		"Learning-Rate":          "learning_rate",
		"learn":                  "learning_rate",
		"lr":                     "learning_rate",
		"wd":                     "weight_decay",
		"decay":                  "weight_decay",
		"nmae":                   "name",
		"step":                   "steps",
		"log_level":              "log-level",
		"":                       "",
		"zzz":                    "",
		"batch":                  "",
		strings.Repeat("x", 100): "",
	} {
		if got := nearest.Word(word, known); got != want {
			t.Errorf("Word(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"abcd", "abxd", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	} {
		if got := nearest.Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func ExampleWord() {
	fmt.Println(nearest.Word("optimiser", []string{"schedule", "optimizer", "name"}))
	// Output: optimizer
}
