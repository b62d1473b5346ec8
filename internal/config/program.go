package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pupil/internal/version"
)

// The programs' exit codes, which scripts may rely on.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// usageError is wrong use of a program: flags, arguments, or a job file that is not valid.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage marks an error as wrong use, for the exit code. nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Usagef is Usage of a new error.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitError is the end of another program that has said itself what is wrong.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("ended with exit code %d", int(e)) }

// Exit ends a program with an exit code and without a message.
func Exit(code int) error { return exitError(code) }

// Args demands a number of arguments, which what describes.
func Args(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return Usagef("%s needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}

// OutlivePipes lets a command that works for long go on when the reader of its output has ended: a write then gives an
// error, where the program would die at once. So Ctrl-C, which also ends a tee that the output goes to, leaves it the time
// to save and to hand over.
func OutlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Execute runs a program's root command and returns its exit code. It adds the flags that all programs have, applies
// environment and file to a command's flags, then calls ready, which may be nil, and then the command.
func Execute(ctx context.Context, root *cobra.Command, ready func() error) int {
	root.Version = version.Line()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SilenceUsage, root.SilenceErrors = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := Apply(cmd); err != nil {
			return Usage(err)
		}
		if ready != nil {
			return ready()
		}
		return nil
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	AddFlags(root)
	refuseUnknown(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	fmt.Fprintf(root.ErrOrStderr(), "%s: %v\n", root.Name(), err)
	if errors.As(err, new(usageError)) {
		return ExitUsage
	}
	return ExitFailed
}

// refuseUnknown lets commands that only group others refuse a name that is none of these.
func refuseUnknown(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		refuseUnknown(c)
	}
	if cmd.Runnable() || !cmd.HasSubCommands() {
		return
	}
	cmd.Args, cmd.SuggestionsMinimumDistance = cobra.ArbitraryArgs, 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := ""
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("did you mean %s? ", strings.Join(near, " or "))
		}
		return Usagef("%s has no command %q; %ssee %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
	}
}
