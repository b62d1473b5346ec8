package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config says where traces go, and of which steps.
type Config struct {
	// URL of the collector, http:// or https://; without a path the standard one, /v1/traces. "": what
	// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says; if neither does, nothing is traced.
	URL      string
	Every    int    // one of so many steps is traced; at least 1
	Service  string // name of the program among others
	Instance string // name of this process
	Version  string // of the build
	Logger   *slog.Logger
}

// DefaultEvery is one step of so many.
const DefaultEvery = 100

// standardPath is where collectors take traces.
const standardPath = "/v1/traces"

// farewell bounds the time that Close waits for the collector.
const farewell = 5 * time.Second

// complaints are told once in so long.
const complaints = time.Minute

// enabled says whether there is a collector.
func (c Config) enabled() bool {
	return c.URL != "" || os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Validate says what is wrong.
func (c Config) Validate() error {
	var errs []error
	if c.Every < 1 {
		errs = append(errs, fmt.Errorf("trace-every is %d; it must be at least 1", c.Every))
	}
	if c.URL != "" {
		_, err := endpoint(c.URL)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// endpoint is the whole URL of a collector.
func endpoint(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("trace-otlp is %q; give a collector's URL, such as http://10.0.0.9:4318", text)
	case u.User != nil:
		return "", errors.New("trace-otlp has a user or password in it, which others could see; give headers in OTEL_EXPORTER_OTLP_HEADERS")
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("trace-otlp is %q; the exporter sends no query; leave out what follows the path", text)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = standardPath
	}
	return u.String(), nil
}

// Tracer sends steps. A nil Tracer traces nothing. It is safe for concurrent use.
type Tracer struct {
	every    int
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Start begins to send to the collector, from goroutines that Close ends. It does not wait for the collector. Without one the
// Tracer is nil.
func Start(ctx context.Context, c Config) (*Tracer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !c.enabled() {
		return nil, nil
	}
	var options []otlptracehttp.Option
	if c.URL != "" {
		whole, err := endpoint(c.URL)
		if err != nil {
			return nil, err
		}
		options = append(options, otlptracehttp.WithEndpointURL(whole))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", c.Service), attribute.String("service.instance.id", c.Instance),
		attribute.String("service.version", c.Version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(&complaint{logger: c.Logger})
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()),
		sdk.WithIDGenerator(newIdentities(c.Instance)))
	c.Logger.Info("steps are traced", "every", c.Every)
	return &Tracer{every: c.Every, provider: provider, tracer: provider.Tracer("pupil")}, nil
}

// Traces says whether a step, counted from 0, is traced.
func (t *Tracer) Traces(step int) bool { return t != nil && step%t.every == 0 }

// Close sends what is left, if the collector takes it soon.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
}

// complaint tells the log now and then that traces are lost.
type complaint struct {
	logger *slog.Logger
	mu     sync.Mutex
	told   time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaint) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.told) < complaints {
		return
	}
	c.told = time.Now()
	const most = 300
	text := err.Error()
	if len(text) > most {
		text = text[:most] + "..."
	}
	c.logger.Warn("traces of steps are lost; training goes on", "err", text)
}
