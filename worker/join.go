package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pupil/coordinator/wire"
	"pupil/internal/config"
	"pupil/internal/kernel"
	"pupil/internal/metrics"
	"pupil/internal/tracing"
	"pupil/internal/version"
	"pupil/worker/agent"
	"pupil/worker/carry"
)

func joinCommand() *cobra.Command {
	c := agent.Config{Version: version.String()}
	var record string
	var teacher teacherCacheFlags
	var cluster clusterFlags
	var endpoint metricsFlags
	traces := tracing.Config{Service: "pupil-worker", Version: c.Version}
	var life func(context.Context, *cobra.Command) context.Context
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Join a coordinator and carry lanes of its jobs",
		Long: "Join connects to a coordinator's broker and carries the lanes that the coordinator gives it, of one job after the\n" +
			"other. It can join at any time: a job that is under way takes the worker in after a step. The broker's user\n" +
			"and password come from the coordinator; without --coordinator give PUPIL_NATS_USER and PUPIL_NATS_PASSWORD.\n\n" +
			"SIGTERM and Ctrl-C let the worker finish its step, hand over its lanes and leave, within --grace; a second one\n" +
			"ends it at once. Either way the job goes on without it, and its result is the same.",
		Example: "  worker join --coordinator http://10.0.0.1:7070,http://10.0.0.2:7070\n" +
			"  worker join --nats-url nats://10.0.0.1:4222 --threads 4\n" +
			"  worker join --nats-url nats://10.0.0.1:4222 --ring-listen 0.0.0.0:4223\n" +
			"  worker join --coordinator http://10.0.0.1:7070 --metrics-listen 0.0.0.0:9090 --metrics-token-file scrape",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := config.Logger(cmd)
			if err != nil {
				return config.Usage(err)
			}
			c.Kernel, c.Logger = kernel.Class(), logger
			if c.TLS, err = cluster.tls(logger); err != nil {
				return err
			}
			if len(cluster.addresses) > 0 && !cmd.Flags().Changed("nats-url") {
				c.URL = ""
				c.Access = func(ctx context.Context, worker, session string) (*wire.Broker, error) {
					return cluster.broker(ctx, c.TLS, logger, worker, session)
				}
			}
			if err := c.Validate(); err != nil {
				return config.Usage(err)
			}
			cache, err := teacher.open(logger)
			if err != nil {
				return config.Usage(err)
			}
			config.OutlivePipes()
			ctx, drain, stop := drainOnSignal(cmd.Context())
			defer stop()
			c.Drain = drain
			m := metrics.NewWorker(c.Kernel)
			c.Joined = m.Joined
			closeMetrics, err := endpoint.start(m, logger)
			if err != nil {
				return config.Usage(err)
			}
			defer closeMetrics()
			traces.Instance, traces.Logger = c.ID, logger
			tracer, err := tracing.Start(ctx, traces)
			if err != nil {
				return config.Usage(err)
			}
			defer tracer.Close()
			t := &carry.Trainer{
				Threads: c.Threads, Version: c.Version, Worker: c.ID, Record: record, TeacherCache: cache, Logger: logger, Metrics: m,
				Tracing: tracer,
			}
			defer t.Close()
			go c.TLS.Watch(ctx) // of its certificates, until the process ends
			return agent.Run(life(ctx, cmd), c, t)
		},
	}
	life = endWithStdin(cmd)
	cluster.add(cmd)
	endpoint.add(cmd)
	f := cmd.Flags()
	f.StringVar(&c.URL, "nats-url", "nats://127.0.0.1:4222", "the coordinator's broker")
	f.StringVar(&c.User, "nats-user", "", "user of the broker")
	f.StringVar(&c.Password, "nats-password", "", "password of the broker")
	f.StringVar(&c.ID, "id", defaultID(), "name of this worker, unique among the workers")
	f.StringVar(&c.RingListen, "ring-listen", "", fmt.Sprintf("HOST:PORT to listen on for the other workers' sums, port 0: one that is free (default with --coordinator: if the data\nplane is mesh, the address that the broker is spoken to from, at port %d or, if that is taken, one that is free)", agent.DefaultRingPort))
	f.BoolVar(&c.RingPlain, "ring-plain", false, "--ring-listen without TLS, on a loopback address: for workers of one machine, as coordinator run starts them")
	f.StringVar(&c.RingAdvertise, "ring-advertise", "", "HOST:PORT that the other workers reach --ring-listen by (default: where it listens)")
	f.StringVar(&record, "record", "", "folder for a record of the images that were really fed, which coordinator audit --record reads")
	teacher.add(f)
	f.StringVar(&traces.URL, "trace-otlp", "", "URL of an OpenTelemetry collector for traces of steps, OTLP over HTTP, as http://10.0.0.9:4318\n(default: what OTEL_EXPORTER_OTLP_ENDPOINT says, else none)")
	f.IntVar(&traces.Every, "trace-every", tracing.DefaultEvery, "one of so many steps is traced")
	f.DurationVar(&c.Grace, "grace", 30*time.Second, "time to hand over the lanes after SIGTERM")
	f.DurationVar(&c.Patience, "patience", 24*time.Hour, "without a coordinator the worker goes on as long as it makes steps; when it makes none, it waits for one for so long\n(0: for ever), and then ends")
	f.IntVar(&c.Threads, "threads", runtime.NumCPU(), "lanes that are computed at the same time")
	return cmd
}

// drainOnSignal closes drain at the first SIGINT or SIGTERM, and ends the context at the second.
func drainOnSignal(parent context.Context) (ctx context.Context, drain <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent)) // which ends at the first
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	first := make(chan struct{})
	go func() {
		select {
		case <-signals:
			close(first)
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			cancel(errors.New("interrupted by a second signal"))
		case <-ctx.Done():
		}
	}()
	return ctx, first, func() { signal.Stop(signals); cancel(nil) }
}

// defaultID names the process.
func defaultID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// endWithStdin adds a flag that ties a command to the process that started it, and returns the context to run in.
func endWithStdin(cmd *cobra.Command) func(context.Context, *cobra.Command) context.Context {
	tied := cmd.Flags().Bool("end-with-stdin", false, "end when standard input is closed, as when the process that started this one ends")
	return func(ctx context.Context, cmd *cobra.Command) context.Context {
		if !*tied {
			return ctx
		}
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, cmd.InOrStdin())
			cancel(errors.New("the process that started this one has ended"))
		}()
		return ctx
	}
}
