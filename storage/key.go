package storage

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrKey says that a key or a prefix breaks the rules of Bucket. Test for it with errors.Is.
var ErrKey = errors.New("invalid key")

// Limits of a key, in bytes. They are S3's and those of common file systems, with room for a suffix.
const (
	maxKey     = 1024
	maxElement = 240
)

// ValidateKey checks a key by the rules of Bucket: elements between slashes that are not empty, not "." and not "..",
// at most 240 bytes each and 1024 in all, valid UTF-8 without control characters and backslashes.
func ValidateKey(key string) error {
	if err := validate(key, false); err != nil {
		return fmt.Errorf("%w %q: %w", ErrKey, key, err)
	}
	return nil
}

// ValidatePrefix checks the argument of List: it is empty, or what a valid key can begin with.
func ValidatePrefix(prefix string) error {
	if err := validate(prefix, true); err != nil {
		return fmt.Errorf("%w, prefix %q: %w", ErrKey, prefix, err)
	}
	return nil
}

// validate checks text; the last element of a prefix can be any part of an element.
func validate(text string, prefix bool) error {
	if len(text) > maxKey {
		return fmt.Errorf("longer than %d bytes", maxKey)
	}
	if !utf8.ValidString(text) {
		return errors.New("not valid UTF-8")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
		return errors.New("contains a control character or a backslash")
	}
	elements := strings.Split(text, "/")
	for i, e := range elements {
		if len(e) > maxElement {
			return fmt.Errorf("an element is longer than %d bytes", maxElement)
		}
		if prefix && i == len(elements)-1 {
			break
		}
		if e == "" || e == "." || e == ".." {
			return fmt.Errorf("the element %q is not allowed", e)
		}
	}
	return nil
}
