package dash

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strings"

	"pupil/coordinator/api"
)

//go:embed page
var embedded embed.FS

// policy lets the page load its own files and ask its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page serves the files of the page: / and those below /dash/. They hold no data, and need no token.
func Page() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "index.html"
		if r.URL.Path != "/" {
			name = strings.TrimPrefix(r.URL.Path, "/dash/")
		}
		data, err := embedded.ReadFile("page/" + name)
		if err != nil {
			(&api.Error{Code: api.NotFound, Text: "there is no " + r.URL.Path}).Write(w)
			return
		}
		tag := fmt.Sprintf(`"%x"`, sha256.Sum256(data))
		for key, value := range map[string]string{
			"Content-Security-Policy":      policy,
			"X-Content-Type-Options":       "nosniff",
			"X-Frame-Options":              "DENY",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Opener-Policy":   "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control":                "no-cache", // asked for again each time; the tag saves the way
			"Content-Type":                 kindOf(name),
			"ETag":                         tag,
		} {
			w.Header().Set(key, value)
		}
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(data) // else the other side has gone
	})
}

// kindOf is a file's media type, whatever the machine's own tables say.
func kindOf(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case "", ".md":
		return "text/plain; charset=utf-8"
	default:
		return mime.TypeByExtension(ext)
	}
}
