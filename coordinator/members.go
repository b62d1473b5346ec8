package main

import (
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"pupil/coordinator/api"
	"pupil/internal/config"
)

func membersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List, add and remove the coordinators of a cluster",
		Long: "Members changes which coordinators keep the cluster's state. Most of them must be there for anything to change: of\n" +
			"three one can fail, of five two. Add one before you remove another, and begin a folder that was lost under a new id.",
		Example: "  coordinator members list\n" +
			"  coordinator serve --id d --join ... &   # on the new host\n" +
			"  coordinator members add d=10.0.0.4:7071\n" +
			"  coordinator members remove a",
	}
	cmd.AddCommand(
		memberCommand("list", "List the coordinators", 0, "no arguments",
			func(cmd *cobra.Command, c *api.Client, _ []string) ([]api.Member, error) {
				return c.Members(cmd.Context())
			}),
		memberCommand("add ID=HOST:PORT", "Take in a coordinator that was started with --join", 1, "a coordinator as id=host:port",
			func(cmd *cobra.Command, c *api.Client, args []string) ([]api.Member, error) {
				id, address, ok := strings.Cut(args[0], "=")
				if !ok {
					return nil, config.Usagef("%q is no coordinator; write it as id=host:port, with the address of its --raft", args[0])
				}
				return c.AddMember(cmd.Context(), api.Member{ID: id, Address: address})
			}),
		memberCommand("remove ID", "Take out a coordinator, which may then be ended", 1, "the id of a coordinator",
			func(cmd *cobra.Command, c *api.Client, args []string) ([]api.Member, error) {
				return c.RemoveMember(cmd.Context(), args[0])
			}),
	)
	return cmd
}

func memberCommand(use, short string, n int, what string, do listing[api.Member]) *cobra.Command {
	return listingCommand(use, short, config.Args(n, what), do, memberTable)
}

func memberTable(w io.Writer, members []api.Member) {
	t := newTable(w, "coordinator", "address", "")
	for _, m := range members {
		role := ""
		if m.Leader {
			role = "leader"
		}
		t.AppendRow(table.Row{m.ID, m.Address, role})
	}
	t.Render()
}
