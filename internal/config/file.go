package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"pupil/internal/config/nearest"
)

// maxBytes is the largest configuration file.
const maxBytes = 1 << 20

// separator joins the parts of a key; no flag and no subcommand has it in its name.
const separator = "."

// file is a configuration file; without one, its name is "" and it has no keys.
type file struct {
	name string
	tree *viper.Viper
	keys []string // of all values, also of those that are null; sorted
}

// open reads the file that --config or its variable names, if one does.
func open(cmd *cobra.Command) (*file, error) {
	source, name := "--"+flagConfig, ""
	if f := cmd.Flag(flagConfig); f != nil {
		name = f.Value.String()
	}
	if name == "" {
		source, name = Variable(flagConfig), os.Getenv(Variable(flagConfig))
	}
	f := &file{name: name, tree: viper.NewWithOptions(viper.KeyDelimiter(separator))}
	if name == "" {
		return f, nil
	}
	if err := f.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return f, nil
}

func (f *file) read() (err error) {
	in, err := os.Open(f.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	data, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err != nil {
		return err
	}
	if len(data) > maxBytes {
		return fmt.Errorf("%s is larger than 1 MB; is this the right file?", f.name)
	}
	f.tree.SetConfigType("yaml")
	if err := f.tree.ReadConfig(strings.NewReader(string(data))); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	f.keys = f.tree.AllKeys()
	slices.Sort(f.keys)
	return nil
}

// place names a key for messages.
func (f *file) place(key string) string { return f.name + ": " + key }

// find returns the key that sets a flag of a command: its own section's, else that of the nearest parent.
func (f *file) find(cmd *cobra.Command, flag string) (key string, ok bool) {
	for section := path(cmd); ; section = section[:len(section)-1] {
		key := strings.Join(append(slices.Clone(section), flag), separator)
		if slices.Contains(f.keys, key) || f.tree.IsSet(key) {
			return key, true
		}
		if len(section) == 0 {
			return "", false
		}
	}
}

// values returns what a key has, as text; list says that it was a list.
func (f *file) values(key string) (values []string, list bool, err error) {
	switch v := f.tree.Get(key).(type) {
	case nil:
		return nil, false, fmt.Errorf("%s: has no value; give one, or remove the key", f.place(key))
	case []any:
		return f.tree.GetStringSlice(key), true, nil
	case map[string]any:
		return nil, false, fmt.Errorf("%s: has keys below it; give a single value", f.place(key))
	default:
		return []string{fmt.Sprint(v)}, false, nil
	}
}

// unknown reports the keys of the file that no command knows.
func (f *file) unknown(root *cobra.Command) []error {
	var faults []error
	for _, key := range f.keys {
		if err := f.check(root, key); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// check follows a key down the tree of commands to a flag.
func (f *file) check(root *cobra.Command, key string) error {
	at, rest := root, strings.Split(key, separator)
	for len(rest) > 1 {
		next := child(at, rest[0])
		if next == nil {
			break
		}
		at, rest = next, rest[1:]
	}
	if rest[0] == flagConfig && len(rest) == 1 {
		return fmt.Errorf("%s: a file cannot name another; give --%s on the command line", f.place(key), flagConfig)
	}
	flags := flagsBelow(at)
	if slices.Contains(flags, rest[0]) {
		if len(rest) > 1 {
			return fmt.Errorf("%s: unknown key; %s is a flag and has no keys below it", f.place(key), rest[0])
		}
		return nil
	}
	if len(rest) == 1 && child(at, rest[0]) != nil {
		if f.tree.Get(key) == nil {
			return nil // a section whose keys are all commented out
		}
		return fmt.Errorf("%s: is a subcommand; give its flags below it, as in '%s: {flag: value}'", f.place(key), rest[0])
	}
	known := append(flags, childNames(at)...)
	if near := nearest.Word(rest[0], known); near != "" {
		before := key[:len(key)-len(strings.Join(rest, separator))]
		return fmt.Errorf("%s: unknown key; the nearest is %s", f.place(key), before+near)
	}
	return fmt.Errorf("%s: unknown key; %s has %s", f.place(key), at.CommandPath(), strings.Join(known, ", "))
}

func child(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range children(cmd) {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// children are the subcommands of a command but for those that cobra adds.
func children(cmd *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(cmd.Commands()), func(c *cobra.Command) bool {
		return c.Name() == "help" || c.Name() == "completion"
	})
}

func childNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range children(cmd) {
		names = append(names, c.Name())
	}
	return names
}

// flagsBelow lists the flags of a command, of its parents for it, and of all its subcommands, sorted.
func flagsBelow(cmd *cobra.Command) []string {
	names := map[string]bool{}
	add := func(f *pflag.Flag) {
		if !builtin(f.Name) && f.Name != flagConfig {
			names[f.Name] = true
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(add)
		for _, sub := range children(c) {
			walk(sub)
		}
	}
	walk(cmd)
	cmd.InheritedFlags().VisitAll(add)
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}
