package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The tables have a line for each number of workers, and stand between the markers of a page, whose other text stays.
func TestPage(t *testing.T) {
	var tables bytes.Buffer
	said := 0
	if err := render(&tables, 4, func(string) { said++ }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\n| 1000 | ", "\n| 4 | broker | ", "`ring.1gbit.n4.14mb.int32`", "### A slow link, a slow worker"} {
		if !strings.Contains(tables.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, tables.String())
		}
	}
	if said != 6 {
		t.Errorf("%d simulations were told of", said)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	for _, c := range []struct{ before, after, err string }{
		{"a\n" + beginMarker + "\nold\n" + endMarker + "\nb\n", "a\n" + beginMarker + "\n" + tables.String() + endMarker + "\nb\n", ""},
		{"a\n" + endMarker + "\n", "a\n" + endMarker + "\n", "between which the tables belong"},
	} {
		if err := os.WriteFile(page, []byte(c.before), 0o644); err != nil {
			t.Fatal(err)
		}
		err := renderPage(page, tables.Bytes())
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("error %v, want %q", err, c.err)
		}
		if got, err := os.ReadFile(page); err != nil || string(got) != c.after {
			t.Errorf("the page is %q, error %v", got, err)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1234 * time.Microsecond: "1.2", 15_600 * time.Microsecond: "16", 9998 * time.Millisecond: "9998",
		12_045 * time.Millisecond: "12,045", 236_508 * time.Millisecond: "236,508",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
