package testcluster_test

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"pupil/internal/testcluster"
)

// span is what arrived of one.
type span struct {
	trace, id, parent, name, process string
	begun, ended                     uint64
	attributes                       map[string]string
}

// receiver is a collector that takes traces over OTLP/HTTP, or refuses them.
type receiver struct {
	mu      sync.Mutex
	refuses bool
	refused int
	spans   []span
	faults  []string
	came    chan struct{} // something has been taken
}

func (r *receiver) refuse() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = true
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuses {
		r.refused++
		http.Error(w, "no room", http.StatusInternalServerError)
		return
	}
	if err := r.take(q); err != nil {
		r.faults = append(r.faults, err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty answer: all was taken
	select {
	case r.came <- struct{}{}:
	default:
	}
}

func (r *receiver) take(q *http.Request) error {
	if q.Method != http.MethodPost || q.URL.Path != "/v1/traces" || q.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("%s %s with %s", q.Method, q.URL, q.Header)
	}
	var body io.Reader = q.Body
	if q.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	var m collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(data, &m); err != nil {
		return err
	}
	for _, about := range m.ResourceSpans {
		resource := attributes(about.Resource.Attributes)
		for _, scope := range about.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, span{
					trace: hex.EncodeToString(s.TraceId), id: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
					name: s.Name, process: resource["service.name"] + " " + resource["service.instance.id"],
					begun: s.StartTimeUnixNano, ended: s.EndTimeUnixNano, attributes: attributes(s.Attributes),
				})
			}
		}
	}
	return nil
}

func attributes(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range list {
		out[a.Key] = a.Value.GetStringValue()
		if _, ok := a.Value.Value.(*common.AnyValue_IntValue); ok {
			out[a.Key] = fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return out
}

// TestTracing trains with a collector: every fourth step is one trace of all processes. One that fails holds nothing up, and
// changes no bit.
func TestTracing(t *testing.T) {
	const steps = "12"
	r := &receiver{came: make(chan struct{}, 1)}
	server := httptest.NewServer(r)
	defer server.Close()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100")          // ms that spans are gathered
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL) // for the coordinator and one worker
	c := testcluster.StartCoordinators(t, 1, "--trace-every", "4")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	processes := []*testcluster.Process{c.StartWorker("w0", "--trace-otlp", server.URL, "--trace-every", "4")}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	processes = append(processes, c.StartWorker("w1", "--trace-every", "4"), c.Nodes[0])
	submit := func(run string) {
		c.JSON(&struct{}{}, "submit", demo, "--run", run, "--workers", "2", "--min-workers", "2", "--set", "steps="+steps, "--set", "batch=64",
			"--set", "student.width=0.25", "--set", "dataset.test=", "--set", "checkpoint.every=5")
	}
	submit("one")
	finished := func(n int) func(s status) bool {
		return func(s status) bool { return len(s.Runs) == n && s.Runs[n-1].Phase == "finished" }
	}
	until(t, c, finished(1))
	for len(r.roots()) < 3 || len(r.named("worker")) < 6 || len(r.named("coordinator")) < 3 { // they come a moment later
		select {
		case <-t.Context().Done():
			t.Fatal(r.spans)
		case <-r.came:
		}
	}
	r.check(t)

	r.refuse()
	submit("two")
	s := until(t, c, finished(2))
	if s.Runs[0].Weights != s.Runs[1].Weights || s.Runs[0].Weights == "" {
		t.Errorf("weights %q, and with a collector that fails %q", s.Runs[0].Weights, s.Runs[1].Weights)
	}
	for _, p := range processes {
		if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := p.Wait(); code != 0 {
			t.Errorf("%s: exit code %d\n%s", p.Name, code, p.Text())
		}
		if !strings.Contains(p.Text(), "traces of steps are lost") {
			t.Errorf("%s does not tell that traces are lost\n%s", p.Name, p.Text())
		}
	}
	if r.refused == 0 {
		t.Error("nothing was sent to the collector that fails")
	}
}

func (r *receiver) named(name string) (found []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.name == name {
			found = append(found, s)
		}
	}
	return found
}

func (r *receiver) roots() []span { return r.named("step") }

// check holds the traces of the run of twelve steps, one of four of which was traced, to their form.
func (r *receiver) check(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.faults {
		t.Error(f)
	}
	byID := map[string]span{}
	traces := map[string][]span{}
	for _, s := range r.spans {
		if byID[s.id].id != "" {
			t.Errorf("two spans %s", s.id)
		}
		byID[s.id] = s
		traces[s.trace] = append(traces[s.trace], s)
	}
	steps := []string{}
	for id, spans := range traces {
		step := spans[0].attributes["step"]
		steps = append(steps, step)
		count, lanes, buckets := map[string]int{}, map[string]int{}, map[string]int{}
		for _, s := range spans {
			a := s.attributes
			if a["step"] != step || a["job"] != "one" || a["generation"] != "1" || s.begun == 0 || s.ended < s.begun {
				t.Errorf("trace %s: %+v", id, s)
			}
			count[s.name+" of "+s.process]++
			parent := byID[s.parent]
			want := "worker"
			switch s.name {
			case "step":
				want = ""
			case "worker", "coordinator":
				want = "step"
			case "input", "teacher", "forward", "loss", "backward":
				want = "lane"
				lanes[s.name+" "+a["lane"]]++
				if s.begun < parent.begun || s.ended > parent.ended || a["lane"] != parent.attributes["lane"] {
					t.Errorf("%+v lies below %+v", s, parent)
				}
			case "all-reduce":
				buckets[s.process]++
				if a["bucket"] == "" || a["bytes"] == "" {
					t.Errorf("%+v has no bucket, or no bytes", s)
				}
			}
			if parent.name != want || (parent.id == "") != (s.parent == "") || want != "" && parent.trace != s.trace {
				t.Errorf("%+v lies below %+v; want %q", s, parent, want)
			}
			if s.name != "step" && s.name != "coordinator" && (a["rank"] == "" || a["lanes"] != "4") {
				t.Errorf("%+v has no rank, or not the worker's 4 lanes", s)
			}
		}
		for _, phase := range []string{"input", "teacher", "forward", "loss", "backward"} {
			for lane := range 8 {
				if n := lanes[fmt.Sprint(phase, " ", lane)]; n != 1 {
					t.Errorf("step %s: %s of lane %d: %d spans", step, phase, lane, n)
				}
			}
		}
		for _, name := range []string{
			"worker of pupil-worker w0", "worker of pupil-worker w1", "update of pupil-worker w0", "update of pupil-worker w1",
			"commit of pupil-worker w0", "coordinator of pupil-coordinator c0",
		} {
			if count[name] != 1 {
				t.Errorf("step %s: %d spans %q of %v", step, count[name], name, count)
			}
		}
		if n := buckets["pupil-worker w0"]; n < 1 || n != buckets["pupil-worker w1"] {
			t.Errorf("step %s: buckets %v", step, buckets)
		}
		copied := count["checkpoint copy of pupil-worker w0"] + count["checkpoint copy of pupil-worker w1"]
		if (copied > 0) != (step == "5") { // checkpoint.every
			t.Errorf("step %s: %d copies for checkpoints", step, copied)
		}
	}
	slices.Sort(steps)
	if !slices.Equal(steps, []string{"1", "5", "9"}) {
		t.Errorf("traces of the steps %v", steps)
	}
}
