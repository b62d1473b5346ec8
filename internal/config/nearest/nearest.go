// Package nearest finds the known word that a user most likely meant by an unknown one: a misspelling, an abbreviation,
// the initials.
package nearest

import "strings"

// longest is the length in bytes of a word that is looked at; longer ones are not misspelt keys.
const longest = 64

// Word returns the known word that is nearest to word, or "" when none is near: when more than a third of its letters
// would have to change. The start of a word (three letters or more), its last part (decay for weight_decay) and its
// initials (lr for learning_rate) are near. Of equally near words the first is taken. Case does not matter.
func Word(word string, known []string) string {
	if len(word) > longest {
		return ""
	}
	word = fold(word)
	best, least := "", (len(word)+2)/3+1
	for _, k := range known {
		f := fold(k)
		d := Distance(word, f)
		if word == Initials(k) || len(word) > 2 && (strings.HasPrefix(f, word) || strings.HasSuffix(f, "_"+word)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

func fold(word string) string { return strings.ToLower(strings.ReplaceAll(word, "-", "_")) }

// Initials returns lr for learning_rate or learning-rate; of a single word there are none.
func Initials(word string) string {
	parts := strings.FieldsFunc(word, func(r rune) bool { return r == '_' || r == '-' })
	if len(parts) < 2 {
		return ""
	}
	initials := ""
	for _, p := range parts {
		initials += p[:1]
	}
	return initials
}

// Distance is the number of bytes to insert, delete, replace or swap with their neighbour that makes b of a (the
// optimal string alignment of Damerau, CACM 1964).
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(row[j-1]+1, last[j]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
