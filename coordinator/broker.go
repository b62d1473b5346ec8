package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"pupil/coordinator/control"
	"pupil/internal/config"
)

func brokerCommand() *cobra.Command {
	var listen, file string
	var insecure, open bool
	var files tlsFlags
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the message broker of a cluster by itself",
		Long: "Broker runs the NATS server that coordinators and workers talk over, as a process of its own: training goes on\n" +
			"while it lives, whatever happens to coordinators. It keeps nothing; when it was restarted, all come back to it.\n\n" +
			"The passwords are drawn at the first start and kept in --credentials. Coordinators need a copy of that file; workers\n" +
			"get what they need from a coordinator, each for its own subjects.",
		Example: "  coordinator broker\n" +
			"  coordinator broker --listen 10.0.0.9:4222 --tls-cert broker.pem --tls-key broker.key --tls-ca ca.pem",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := config.Logger(cmd)
			if err != nil {
				return config.Usage(err)
			}
			tls, err := files.load(logger, true)
			if err != nil {
				return err
			}
			if _, _, err := brokerAddress(listen, tls != nil, insecure); err != nil { // before anything is written
				return config.Usage(err)
			}
			users, err := control.LoadCredentials(file, true)
			if err != nil {
				return config.Usage(err)
			}
			config.OutlivePipes()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			b, err := startBroker(listen, users, tls, insecure, control.BrokerOptions{Logger: logger, Open: open})
			if err != nil {
				return config.Usage(err)
			}
			defer b.Close()
			logger.Info("broker started", "url", b.URL(), "credentials", file)
			tls.Watch(ctx) // of the certificates
			<-ctx.Done()
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:4222", "address to listen on, host:port; port 0: one that is free")
	f.StringVar(&file, "credentials", defaultSecret("broker.json"), "file of the passwords; drawn when there is none")
	f.BoolVar(&insecure, "insecure", false, "listen beyond this machine without TLS, on a network that you trust")
	addOpenBroker(cmd, &open)
	files.add(cmd)
	return cmd
}
