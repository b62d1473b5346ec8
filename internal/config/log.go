package config

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pupil/internal/config/nearest"
)

const (
	flagLogLevel  = "log-level"
	flagLogFormat = "log-format"

	formatText = "text"
	formatJSON = "json"
)

func addLogFlags(f *pflag.FlagSet) {
	f.Var(&choice{"info", []string{"debug", "info", "warn", "error"}}, flagLogLevel,
		"least important messages to log: debug, info, warn or error")
	f.Var(&choice{formatText, []string{formatText, formatJSON}}, flagLogFormat, "format of log messages: text or json")
}

// Logger returns the logger that --log-level and --log-format describe. It writes to the command's standard error.
func Logger(cmd *cobra.Command) (*slog.Logger, error) {
	level, format := cmd.Flag(flagLogLevel), cmd.Flag(flagLogFormat)
	if level == nil || format == nil {
		return nil, fmt.Errorf("logger: %s has no log flags; call AddFlags on its root", cmd.CommandPath())
	}
	return NewLogger(cmd.ErrOrStderr(), level.Value.String(), format.Value.String())
}

// NewLogger returns a logger for messages of a level (debug, info, warn, error) and above, in the format text or json.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level is %q; give debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: least}
	switch format {
	case formatText:
		return slog.New(slog.NewTextHandler(w, options)), nil
	case formatJSON:
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log format is %q; give %s or %s", format, formatText, formatJSON)
}

// choice is a flag that takes one of a few words.
type choice struct {
	word  string
	known []string
}

var _ pflag.Value = (*choice)(nil)

// String returns the word.
func (c *choice) String() string { return c.word }

// Type names the value in the help.
func (c *choice) Type() string { return "word" }

// Set takes a word, if it is known.
func (c *choice) Set(word string) error {
	if slices.Contains(c.known, word) {
		c.word = word
		return nil
	}
	advice := "give one of " + strings.Join(c.known, ", ")
	if near := nearest.Word(word, c.known); near != "" {
		advice = "the nearest is " + near + "; " + advice
	}
	return fmt.Errorf("unknown word; %s", advice)
}
