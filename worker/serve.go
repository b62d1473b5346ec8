package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pupil/internal/config"
	"pupil/internal/version"
	"pupil/worker/student"
	"pupil/worker/student/gallery"
	"pupil/worker/student/serve"
)

// service is what the command was asked.
type service struct {
	config                       serve.Config
	listen, head, gallery        string
	certificate, key, tokensFile string
}

func serveCommand() *cobra.Command {
	s := service{config: serve.DefaultConfig()}
	cmd := &cobra.Command{
		Use:   "serve STUDENT",
		Short: "Answer HTTP requests with a student: features, classes, identities",
		Long: "Serve answers POST /v1/features, /v1/classify and /v1/identify for images that are sent as a body, a form or\n" +
			"JSON, and has a page on / on which one drops an image. Requests that come at the same time share batches.\n" +
			"/healthz, /readyz and /metrics are for operators, /openapi.json describes all. Ctrl-C answers what has begun,\n" +
			"and ends.\n\n" +
			"Who can reach the address can ask, unless there are tokens; they are best given in a file.",
		Example: "  worker serve runs/one/student\n" +
			"  worker serve runs/one/student --gallery people.gallery --listen 0.0.0.0:8443 \\\n" +
			"    --tls-cert cert.pem --tls-key key.pem --tokens-file tokens.txt\n" +
			"  curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8088/v1/classify",
		Args: config.Args(1, "a student's folder"),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args[0]) },
	}
	f, c := cmd.Flags(), &s.config
	f.StringVar(&s.listen, "listen", "127.0.0.1:8088", "address and port")
	f.StringVar(&s.head, "head", "", "classifier: file or URL of a head, own, or none (default: as worker classify takes one)")
	f.StringVar(&s.gallery, "gallery", "", "file or URL of a gallery, for /v1/identify")
	f.StringVar(&s.certificate, "tls-cert", "", "file with the certificate's chain (PEM), for HTTPS")
	f.StringVar(&s.key, "tls-key", "", "file with the certificate's key (PEM)")
	f.StringVar(&s.tokensFile, "tokens-file", "", "file with bearer tokens, one a line, of which a request must have one")
	f.IntVar(&c.Threads, "threads", c.Threads, "batches that are computed at the same time")
	f.IntVar(&c.Batch, "batch", c.Batch, "images of a batch at most")
	f.DurationVar(&c.Delay, "delay", c.Delay, "how long an image waits for others to share its batch")
	f.IntVar(&c.Requests, "max-requests", c.Requests, "requests at a time; more are refused with 429")
	f.IntVar(&c.Images, "max-images", c.Images, "images of a request")
	f.Int64Var(&c.MaxBody, "max-bytes", c.MaxBody, "bytes of a request")
	f.IntVar(&c.Pixels, "max-pixels", c.Pixels, "pixels of an image")
	f.DurationVar(&c.Timeout, "timeout", c.Timeout, "time for a request to arrive, and then to be answered")
	f.DurationVar(&c.Drain, "drain", c.Drain, "time for what has begun when the server ends")
	return cmd
}

func (s *service) run(cmd *cobra.Command, from string) error {
	logger, err := config.Logger(cmd)
	if err != nil {
		return config.Usage(err)
	}
	s.config.Logger, s.config.Version = logger, version.String()
	if s.config.Tokens, err = readTokens(s.tokensFile); err != nil {
		return config.Usage(err)
	}
	if err := s.config.Validate(); err != nil {
		return config.Usage(err)
	}
	secure, err := s.tls()
	if err != nil {
		return config.Usage(err)
	}
	m, err := openStudent(cmd, from)
	if err != nil {
		return err
	}
	classifier, err := s.classifier(cmd, m)
	if err != nil {
		return err
	}
	g, err := s.openGallery(cmd, m)
	if err != nil {
		return err
	}
	server, err := serve.New(m, classifier, g, s.config)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return config.Usage(err)
	}
	scheme := "http"
	if secure != nil {
		l, scheme = tls.NewListener(l, secure), "https"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "serving %s on %s://%s\n", from, scheme, l.Addr())
	return server.Run(cmd.Context(), l)
}

// readTokens reads a file of tokens; "" is none.
func readTokens(name string) ([]string, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	tokens := strings.Fields(string(data))
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%s has no token; write one a line, as openssl rand -hex 32 makes them", name)
	}
	return tokens, nil
}

func (s *service) tls() (*tls.Config, error) {
	if s.certificate == "" && s.key == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.certificate, s.key)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// classifier is nil where there is none.
func (s *service) classifier(cmd *cobra.Command, m *student.Model) (*student.Classifier, error) {
	if s.head == noHead {
		return nil, nil
	}
	c, err := openClassifier(cmd, m, s.head)
	if errors.Is(err, student.ErrNoClassifier) && s.head == "" {
		return nil, nil
	}
	return c, err
}

// openGallery is nil where there is none.
func (s *service) openGallery(cmd *cobra.Command, m *student.Model) (*gallery.Gallery, error) {
	if s.gallery == "" {
		return nil, nil
	}
	b, key, err := openObject(cmd, s.gallery)
	if err != nil {
		return nil, err
	}
	g, err := loadGallery(cmd, b, key, m)
	if err != nil {
		return nil, err
	}
	return g, config.Usage(g.Ready())
}
