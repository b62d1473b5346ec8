package job

import (
	"strings"

	"pupil/internal/config/nearest"
)

// suggest says what to do about a key that a section does not know: the nearest key, else those that there are. The
// rest is what follows the key in a longer path, "" for a key of a file. The nearest key's path is returned too, or "".
func suggest(section, key, rest string) (advice, near string) {
	known := childrenOf(section)
	if near := nearest.Word(key, known); near != "" {
		near = below(section, near)
		if _, ok := fieldAt(near + rest); ok {
			return "the nearest key is " + near + rest, near
		}
		return "the nearest key is " + near, near
	}
	if paths := elsewhere(key); len(paths) > 0 {
		return "there is " + strings.Join(paths, ", "), ""
	}
	place := section + " has"
	if section == "" {
		place = "a job has"
	}
	return place + " " + strings.Join(known, ", "), ""
}

// elsewhere returns the paths of keys in other sections that have this name, or end in it, or have it as initials.
func elsewhere(key string) []string {
	if key == "" || len(key) > 64 {
		return nil
	}
	key = strings.ToLower(key)
	var paths []string
	for _, f := range Fields() {
		_, last := split(f.Path)
		if nearest.Distance(key, last) <= len(last)/4 || strings.HasSuffix(last, "_"+key) || key == nearest.Initials(last) {
			paths = append(paths, strings.ReplaceAll(f.Path, "*", "0"))
		}
	}
	return paths
}

// pattern replaces the numbers of list elements in a path by *.
func pattern(path string) string {
	keys := strings.Split(path, ".")
	for i, k := range keys {
		if k != "" && strings.Trim(k, "0123456789") == "" {
			keys[i] = "*"
		}
	}
	return strings.Join(keys, ".")
}
