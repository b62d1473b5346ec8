package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"pupil/internal/config"
)

func TestExecute(t *testing.T) {
	t.Setenv("PUPIL_CONFIG", "")
	failure := errors.New("the disk is full")
	for name, c := range map[string]struct {
		args    []string
		code    int
		message string
	}{
		"done":             {[]string{"group", "work", "one"}, config.ExitDone, ""},
		"help":             {[]string{"group"}, config.ExitDone, ""},
		"version":          {[]string{"--version"}, config.ExitDone, ""},
		"failed":           {[]string{"group", "work", "fail"}, config.ExitFailed, "program: the disk is full"},
		"usage":            {[]string{"group", "work", "wrong"}, config.ExitUsage, "program: wrong word"},
		"another's end":    {[]string{"group", "work", "exit"}, 7, ""},
		"no argument":      {[]string{"group", "work"}, config.ExitUsage, "program group work needs one word"},
		"unknown flag":     {[]string{"group", "--wrok"}, config.ExitUsage, "--wrok"},
		"unknown command":  {[]string{"gruop"}, config.ExitUsage, `program has no command "gruop"; did you mean group?`},
		"unknown below":    {[]string{"group", "play"}, config.ExitUsage, `program group has no command "play"`},
		"wrong flag value": {[]string{"group", "--log-level", "loud"}, config.ExitUsage, "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			root := &cobra.Command{Use: "program"}
			group := &cobra.Command{Use: "group"}
			group.AddCommand(&cobra.Command{Use: "work", Args: config.Args(1, "one word"), RunE: func(_ *cobra.Command, args []string) error {
				switch args[0] {
				case "fail":
					return failure
				case "wrong":
					return config.Usagef("wrong word")
				case "exit":
					return config.Exit(7)
				}
				return nil
			}})
			root.AddCommand(group)
			var out, messages strings.Builder
			root.SetOut(&out)
			root.SetErr(&messages)
			root.SetArgs(c.args)
			if code := config.Execute(t.Context(), root, nil); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if c.message == "" && messages.Len() > 0 {
				t.Errorf("messages %q, want none", messages.String())
			}
			if !strings.Contains(messages.String(), c.message) {
				t.Errorf("messages %q; want %q in them", messages.String(), c.message)
			}
		})
	}
}
