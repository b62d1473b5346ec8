package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pupil/coordinator/control"
	"pupil/coordinator/local"
	"pupil/coordinator/raftlog"
	"pupil/coordinator/serve"
	"pupil/coordinator/wire"
	"pupil/internal/certificate"
	"pupil/internal/config"
	"pupil/internal/tracing"
	"pupil/internal/version"
	"pupil/storage/location"
)

type serveFlags struct {
	peers, tokenFile, token string
	expect                  int
	nats, natsFile          string
	embedded                embeddedFlags
	workerToken             string
	tls                     tlsFlags
	traces                  tracing.Config
}

func serveCommand() *cobra.Command {
	c := serve.DefaultConfig()
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a cluster: take jobs in and give them to the workers that join",
		Long: "Serve runs one coordinator of a cluster until it is interrupted, with a broker within it. Three or five\n" +
			"coordinators survive the death of one or two: give each its --id and all the same --peers and token. Their brokers\n" +
			"form a cluster, and workers go from one that dies to another. With --nats they use a broker that runs by itself.\n\n" +
			"At SIGTERM the leader hands over to another coordinator. Jobs, their progress and the members are in --data, and\n" +
			"are there again after any kill.\n\n" +
			"Whoever knows the token may do anything here. It is drawn at the first start and kept in --token-file, where the\n" +
			"commands of the same user find it; other hosts need a copy.",
		Example: "  coordinator serve\n" +
			"  coordinator serve --id a --peers a=10.0.0.1:7071,b=10.0.0.2:7071,c=10.0.0.3:7071 --raft 10.0.0.1:7071 \\\n" +
			"    --listen 10.0.0.1:7070 --storage s3://bucket/runs \\\n" +
			"    --tls-cert a.pem --tls-key a.key --tls-ca ca.pem\n" +
			"  coordinator serve --id d --join --raft 10.0.0.4:7071 --nats-peers 10.0.0.1:6222,10.0.0.2:6222 ...   # then: coordinator members add d=10.0.0.4:7071",
		Args: config.Args(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd, c, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.ID, "id", hostName(), "name of this coordinator, unique in the cluster; it never changes")
	flags.StringVar(&c.Folder, "data", "", "folder of this coordinator's durable state (default: coordinator-ID)")
	flags.StringVar(&c.Listen, "listen", c.Listen, "address for commands and workers, host:port")
	flags.StringVar(&c.Raft, "raft", c.Raft, "address for other coordinators, host:port")
	flags.StringVar(&c.Advertise, "advertise", "", "address by which other coordinators reach --raft (default: the same)")
	flags.StringVar(&f.peers, "peers", "", "coordinators that a new cluster begins with: id=host:port,... or srv://NAME of a DNS SRV record")
	flags.IntVar(&f.expect, "expect", 3, "with srv://: the number of coordinators to wait for")
	flags.BoolVar(&c.Join, "join", false, "wait until coordinator members add takes this coordinator into an existing cluster")
	flags.StringVar(&f.token, "token", "", "the cluster's token; better in PUPIL_TOKEN, since other users can see flags")
	flags.StringVar(&f.tokenFile, "token-file", defaultSecret("token"), "file of the cluster's token; drawn when there is none")
	flags.StringVar(&f.nats, "nats", "", "broker that runs by itself, nats://host:port,... or tls:// (default: one within each coordinator)")
	f.embedded.add(cmd)
	flags.StringVar(&f.natsFile, "nats-credentials", "", "file of the broker's credentials (default: "+defaultSecret("broker.json")+
		" with --nats,\nelse none: they are made of the cluster's token)")
	flags.StringVar(&c.Storage, "storage", "", "URL or folder below which each run has its folder, unless it says where (default: runs in --data)")
	flags.DurationVar(&c.Timeout, "worker-timeout", c.Timeout, "a worker that is silent for so long is lost")
	flags.IntVar(&c.KeepRuns, "keep-runs", c.KeepRuns, "runs that are over stay in list, events and audit: so many, the newest; 0: all")
	flags.DurationVar(&c.KeepFor, "keep-runs-for", 0, "and for so long, such as 720h; 0: for ever. What a run has stored stays in any case")
	flags.DurationVar(&c.Election, "election-timeout", 0, "a leader that is silent for so long is replaced (default 500ms)")
	flags.StringVar((*string)(&c.DataPlane), "data-plane", string(c.DataPlane),
		"which way the workers' sums go: mesh (straight between the workers, also while no coordinator lives), broker, or auto: mesh,\nbut broker while a worker does not listen for the others, and with --nats")
	flags.StringVar(&c.Metrics.Listen, "metrics-listen", "",
		"HOST:PORT to serve /metrics, /healthz and /readyz on, such as 127.0.0.1:9090 (default: --listen alone has them, with the token)")
	flags.StringVar(&c.Metrics.TokenFile, "metrics-token-file", "",
		"file with the bearer token that --metrics-listen asks for; needed beyond this machine")
	flags.BoolVar(&c.Metrics.Insecure, "metrics-insecure", false,
		"let anybody read --metrics-listen without a token, on a network that you trust")
	flags.BoolVar(&c.Insecure, "insecure", false, "listen beyond this machine without TLS, on a network that you trust")
	flags.StringVar(&f.workerToken, "worker-token-file", "", "file of a token with which workers join and which opens nothing else; drawn when there is none\nand this coordinator is alone, else the same on all (default: only those of coordinator tokens add)")
	flags.StringArrayVar(&c.Allow, "allow-storage", nil, "URL at or below which jobs may read and write, beside --storage (again for each; default: anywhere that\nthe processes reach)")
	flags.BoolVar(&c.Public, "anonymous-viewer", false, "let anybody who reaches --listen look, without a token; all else needs one")
	f.tls.add(cmd)
	addTracing(cmd, &f.traces)
	return cmd
}

func runServe(cmd *cobra.Command, c serve.Config, f serveFlags) error {
	logger, err := config.Logger(cmd)
	if err != nil {
		return config.Usage(err)
	}
	c.Logger, c.Version = logger, version.String()
	if c.Folder == "" {
		c.Folder = "coordinator-" + c.ID
	}
	if c.TLS, err = f.tls.load(logger, true); err != nil {
		return err
	}
	c.Certificates = f.tls.expiring()
	config.OutlivePipes()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.Peers, err = parsePeers(ctx, f.peers, f.expect); err != nil {
		return config.Usage(err)
	}
	if c.Worker, err = local.WorkerBinary(""); err != nil {
		logger.Debug("the page will have no views", "err", err)
	}
	if c.Storage == "" {
		c.Storage = filepath.Join(c.Folder, "runs")
	}
	if c.Storage, err = location.FromPath(c.Storage); err != nil {
		return config.Usagef("--storage: %w", err)
	}
	if f.nats != "" {
		if err := f.embedded.refuse(cmd); err != nil {
			return err
		}
		if c.DataPlane == wire.AutoPlane { // who has such a broker may let workers reach nothing else
			c.DataPlane = wire.BrokerPlane
		}
	}
	if err := c.Check(); err != nil {
		return config.Usage(err)
	}
	var embedded control.BrokerOptions
	if f.nats == "" {
		if embedded, err = f.embedded.options(c); err != nil {
			return config.Usage(err)
		}
	}
	if c.Token = f.token; c.Token == "" {
		if c.Token, err = control.LoadToken(f.tokenFile, true); err != nil {
			return config.Usagef("the cluster's token: %w", err)
		}
	}
	if c.WorkerToken, err = workerToken(ctx, c, f.workerToken); err != nil {
		return config.Usagef("--worker-token-file: %w", err)
	}
	var end func()
	if c.Broker, end, err = openBroker(ctx, c, f, embedded); err != nil {
		return config.Usage(err)
	}
	defer end()
	if err := c.Validate(); err != nil {
		return config.Usage(err)
	}
	f.traces.Service, f.traces.Instance, f.traces.Version, f.traces.Logger = "pupil-coordinator", c.ID, c.Version, logger
	if c.Tracing, err = tracing.Start(ctx, f.traces); err != nil {
		return config.Usage(err)
	}
	defer c.Tracing.Close()
	return serve.Run(ctx, c)
}

// workerToken reads the token with which workers join, or draws it when no other coordinator must have the same.
func workerToken(ctx context.Context, c serve.Config, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	alone := len(c.Peers) <= 1 && !c.Join
	if !alone {
		config.Await(ctx, file, c.Logger)
	}
	token, err := control.LoadToken(file, alone)
	if err == nil && token == c.Token {
		err = fmt.Errorf("%s has the cluster's token, which opens everything; give workers one of their own", file)
	}
	return token, err
}

// openBroker is the way to the broker: that of another process, or one that begins here.
func openBroker(ctx context.Context, c serve.Config, f serveFlags, embedded control.BrokerOptions) (control.Link, func(), error) {
	if f.nats != "" {
		file := cmp.Or(f.natsFile, defaultSecret("broker.json"))
		config.Await(ctx, file, c.Logger)
		users, err := control.LoadCredentials(file, false)
		if err != nil {
			return nil, nil, fmt.Errorf("%w; the broker has written it, copy it from there or name it with --nats-credentials", err)
		}
		r, err := control.NewRemote(f.nats, users, c.TLS)
		return r, func() {}, err
	}
	users := control.DeriveCredentials(c.Token)
	if f.natsFile != "" {
		config.Await(ctx, f.natsFile, c.Logger)
		var err error
		if users, err = control.LoadCredentials(f.natsFile, false); err != nil {
			return nil, nil, err
		}
	}
	embedded.Credentials = &users
	b, err := control.StartBroker(embedded)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; --nats-listen and --nats-routes give it other addresses, --nats uses a broker that runs already", err)
	}
	return b, b.Close, nil
}

// brokerAddress reads where a broker shall listen, and refuses what others could read along.
func brokerAddress(listen string, encrypted, insecure bool) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("the broker listens on %q; write it as host:port", listen)
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("the broker listens on %q; the port must be a number", listen)
	}
	ip := net.ParseIP(host)
	if !encrypted && !insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", 0, fmt.Errorf("the broker would listen on %s without TLS, which other machines could read along; give certificates, "+
			"or say --insecure on a network that you trust", listen)
	}
	return host, port, nil
}

// startBroker starts a NATS server at an address.
func startBroker(listen string, users control.Credentials, files *certificate.Source, insecure bool, o control.BrokerOptions,
) (*control.Broker, error) {
	host, port, err := brokerAddress(listen, files != nil, insecure)
	if err != nil {
		return nil, err
	}
	o.Port = port
	o.Host, o.Credentials, o.TLS = host, &users, files
	return control.StartBroker(o)
}

// parsePeers reads id=host:port,... or waits for the targets of an SRV record.
func parsePeers(ctx context.Context, text string, expect int) ([]raftlog.Peer, error) {
	if name, ok := strings.CutPrefix(text, "srv://"); ok {
		return raftlog.LookUpPeers(ctx, net.DefaultResolver, name, expect)
	}
	var peers []raftlog.Peer
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		id, address, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("--peers: %q; write id=host:port", part)
		}
		peers = append(peers, raftlog.Peer{ID: id, Address: address})
	}
	return peers, nil
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "coordinator"
	}
	name, _, _ = strings.Cut(name, ".")
	return name
}

// defaultSecret is a file among the user's own settings, which all programs of this user find.
func defaultSecret(name string) string {
	folder, err := os.UserConfigDir()
	if err != nil {
		return filepath.Join(".pupil", name)
	}
	return filepath.Join(folder, "pupil", name)
}
