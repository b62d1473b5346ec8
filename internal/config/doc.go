// Package config lets every flag of the two programs be given in four ways, the first of which wins:
//
//	--log-level debug              the flag itself
//	PUPIL_LOG_LEVEL=debug          the environment: the flag's name in capitals, '-' written '_'
//	log-level: debug               a YAML file, named by --config or PUPIL_CONFIG
//	                               the flag's default
//
// In the file a key at the top is for every subcommand that has such a flag; a section with a subcommand's name is for
// that one, and wins:
//
//	log-level: info
//	run:
//	  workers: 4
//	data:
//	  import:
//	    shard-size: 5000
//
// A key that no subcommand has, and a value that its flag does not take, is an error that names its place. Variables
// that name no flag are left alone: they may belong to others.
//
// A program calls [AddFlags] on its root command, [Apply] in its PersistentPreRunE, and [Logger] where it runs.
package config
