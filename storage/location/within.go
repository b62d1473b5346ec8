package location

import (
	"fmt"
	"path"
	"strings"
)

// Within says whether a URL lies at or below another one: the same scheme, host and parameters, and a path below. A path with
// ".." in it lies nowhere.
func Within(address, prefix string) (bool, error) {
	u, err := parse(address)
	if err != nil {
		return false, fmt.Errorf("storage %q: %w", Redact(address), err)
	}
	p, err := parse(prefix)
	if err != nil {
		return false, fmt.Errorf("storage %q: %w", Redact(prefix), err)
	}
	for _, element := range strings.Split(u.Path, "/") {
		if element == ".." {
			return false, nil
		}
	}
	at, below := path.Clean("/"+u.Path), path.Clean("/"+p.Path)
	return u.Scheme == p.Scheme && u.Opaque == "" && u.User == nil && u.Host == p.Host && u.Query().Encode() == p.Query().Encode() &&
		(at == below || below == "/" || strings.HasPrefix(at, below+"/")), nil
}
