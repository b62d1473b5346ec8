package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// prefix starts the names of the environment's variables.
const prefix = "PUPIL_"

// flagConfig names the configuration file, and so is not read from one.
const flagConfig = "config"

// AddFlags adds --config, --log-level and --log-format to a root command, for all of its subcommands.
func AddFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.String(flagConfig, "", "YAML file with values for flags (or $"+Variable(flagConfig)+")")
	addLogFlags(f)
}

// Variable returns the name of the environment's variable for a flag: PUPIL_LOG_LEVEL for log-level.
func Variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Apply gives each flag of cmd that was not on the command line its value from the environment, else from the
// configuration file. Such flags then count as changed. The error lists everything that is wrong, one line each.
func Apply(cmd *cobra.Command) error {
	file, err := open(cmd)
	if err != nil {
		return err
	}
	faults := file.unknown(cmd.Root())
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || builtin(f.Name) || f.Name == flagConfig {
			return
		}
		if err := fill(cmd, f, file); err != nil {
			faults = append(faults, err)
		}
	})
	return errors.Join(faults...)
}

// builtin says whether a flag is cobra's own.
func builtin(flag string) bool { return flag == "help" || flag == "version" }

// fill sets one flag from the environment or the file, if it is there.
func fill(cmd *cobra.Command, f *pflag.Flag, file *file) error {
	name := Variable(f.Name)
	if text, ok := os.LookupEnv(name); ok {
		return set(cmd, f, name, []string{text}, false)
	}
	key, ok := file.find(cmd, f.Name)
	if !ok {
		return nil
	}
	values, list, err := file.values(key)
	if err != nil {
		return err
	}
	return set(cmd, f, file.place(key), values, list)
}

// set gives a flag a value from a source. A list is for flags that take several values.
func set(cmd *cobra.Command, f *pflag.Flag, source string, values []string, list bool) error {
	var err error
	switch several, ok := f.Value.(pflag.SliceValue); {
	case list && !ok:
		return fmt.Errorf("%s: is a list; give %s", source, expects(f))
	case list:
		if err = several.Replace(values); err == nil {
			f.Changed = true
		}
	default:
		err = cmd.Flags().Set(f.Name, values[0])
	}
	if err != nil {
		return fmt.Errorf("%s: is %q; give %s for --%s", source, strings.Join(values, ","), expects(f), f.Name)
	}
	return nil
}

// expects says in words what a flag takes.
func expects(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "true or false"
	case "int", "int32", "int64":
		return "a whole number"
	case "uint", "uint32", "uint64":
		return "a whole number of 0 or more"
	case "float32", "float64":
		return "a number"
	case "duration":
		return "a duration, as in 500ms, 10s or 2m"
	}
	if c, ok := f.Value.(*choice); ok {
		return "one of " + strings.Join(c.known, ", ")
	}
	return "a value of the type " + f.Value.Type()
}

// path returns the names of a command and its parents below the root, the root's child first.
func path(cmd *cobra.Command) []string {
	var names []string
	for c := cmd; c.HasParent(); c = c.Parent() {
		names = append(names, c.Name())
	}
	slices.Reverse(names)
	return names
}
