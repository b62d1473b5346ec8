package wire_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pupil/coordinator/job"
	"pupil/coordinator/wire"
)

func plan() wire.Plan {
	return wire.Plan{
		Generation: 3, Run: "faces.v2", Spec: &job.Spec{Name: "faces.v2", Seed: math.MaxUint64, Lanes: 3}, Digest: "ab12",
		Storage: "file:///data/runs/faces", Rank: 1, LaneCount: 3, RestoreStep: -1, RingPrefix: wire.RingPrefix("faces.v2"),
		Members:  []wire.Member{{ID: "w0", Lanes: []int{0, 2}}, {ID: "w1", Lanes: []int{1}}, {ID: "w2", Lanes: []int{}}},
		Deadline: time.Minute,
	}
}

// meshed is a plan whose workers have servers of their own.
func meshed() wire.Plan {
	p := plan()
	p.Mesh = &wire.Mesh{
		Peers:     []wire.MeshPeer{{Address: "h0:1", Name: "r0.g3"}, {Address: "[::1]:2", Name: "r1.g3"}, {Address: "h2:1", Name: "r2.g3"}},
		Authority: []byte{1}, Certificate: []byte{2, 3}, Password: "secret",
	}
	return p
}

func report() wire.Report {
	return wire.Report{
		Worker: "w0", Run: "faces", Generation: 3, Step: 7, Total: 10, Epoch: 1, Loss: -0.1, MutualInformation: 1e-300,
		Images: 256, LearningRate: 0.1, Health: map[string]float64{"used_classes": 10}, Seconds: 0.25,
	}
}

// messages holds one of each kind.
func messages() []wire.Message {
	return []wire.Message{
		wire.Register{Worker: "w0", Session: "s", Host: "h", PID: 7, Threads: 2, Build: "v1", Kernel: "avx2", Numerics: 1},
		wire.Inspect{Request: "r"},
		wire.Inspected{Worker: "w0", Session: "s", Request: "r", Report: "{}"},
		wire.Register{
			Worker: "w0", Session: "s", Host: "h", PID: 7, Threads: 2, Build: "v1", Kernel: "avx2",
			RingAddress: "10.0.0.3:4223", RingKey: strings.Repeat("0f", 32),
		},
		wire.Register{Worker: "w0", Session: "s", Host: "h", PID: 7, Threads: 2, Build: "v1", Kernel: "avx2", RingAddress: "127.0.0.1:4223"},
		wire.Registered{Interval: time.Second, Timeout: 3 * time.Second},
		wire.Refused{Reason: "no", Retry: true},
		wire.Heartbeat{
			Worker: "w0", Session: "s", Generation: 3, Activity: wire.Training, Step: 9,
			Times: wire.Times{Compute: 0.1, Wait: 0.2, Send: 0.3},
			Timed: 7, Total: wire.Times{Exchange: 3, Exposed: 1, Left: 2, Behind: 1, Add: 0.5},
			Connection: wire.ConnectionName("NABC", 7), Gone: []string{"w1", "w2"},
		},
		wire.Ack{},
		wire.Leave{Worker: "w0", Session: "s"},
		plan(),
		meshed(),
		wire.Stop{Generation: 3, Reason: "asked to"},
		wire.Abort{Generation: 3, Reason: "worker w1 was lost"},
		wire.Pause{Generation: 3, Reason: "worker w3 has joined"},
		wire.Prepare{Run: "faces", Spec: plan().Spec, Digest: "00ff", Storage: "file:///runs/faces", Lanes: 2},
		wire.Prepared{Worker: "w0", Session: "s", Run: "faces", Error: "no data"},
		wire.Draining{Worker: "w0", Session: "s", Reason: "SIGTERM"},
		wire.Began{Worker: "w0", Run: "faces", Generation: 3, Step: 7, From: "a peer"},
		wire.Noticed{Worker: "w0", Run: "faces", Generation: 3, Text: "the storage fails"},
		report(),
		wire.CheckpointSaved{Worker: "w0", Run: "faces", Generation: 3, Step: 5},
		wire.Ended{Worker: "w0", Run: "faces", Generation: 3, Outcome: wire.Finished, Step: 10, WeightsSHA256: "00ff"},
	}
}

func encode(t testing.TB, m wire.Message) []byte {
	t.Helper()
	data, err := wire.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	for _, m := range messages() {
		got, err := wire.Decode(encode(t, m))
		if err != nil {
			t.Errorf("%T: %v", m, err)
		} else if !reflect.DeepEqual(got, m) {
			t.Errorf("%T: sent %+v, received %+v", m, m, got)
		}
	}
}

// TestOtherBuilds reads what a newer build may send: more fields in the same version, and a refusal in any version.
func TestOtherBuilds(t *testing.T) {
	m, err := wire.Decode([]byte(`{"version":3,"kind":"leave","more":1,"body":{"worker":"w","session":"s","why":1}}`))
	if want := (wire.Leave{Worker: "w", Session: "s"}); err != nil || m != wire.Message(want) {
		t.Errorf("more fields: %+v, %v", m, err)
	}
	_, err = wire.As[wire.Registered]([]byte(`{"version":99,"kind":"refused","body":{"reason":"this build speaks 99","retry":false,"see":"docs"}}`))
	var refused *wire.Refused
	if !errors.As(err, &refused) || refused.Reason != "this build speaks 99" {
		t.Errorf("a refusal of another version: %v", err)
	}
	if _, err := wire.Decode([]byte(`{"version":99,"kind":"registered","body":{}}`)); !errors.Is(err, wire.ErrVersion) {
		t.Errorf("another version: %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	leave := func(body string) string { return `{"version":3,"kind":"leave","body":` + body + `}` }
	for _, c := range []struct{ name, data, want string }{
		{"nothing", ``, "unexpected end"},
		{"no object", `7`, "cannot unmarshal"},
		{"no version", `{"kind":"ack","body":{}}`, "another version of the protocol: 0"},
		{
			"later version", `{"version":4,"kind":"ack","body":{},"more":1}`,
			"another version of the protocol: 4; this build (",
		},
		{"unknown kind", `{"version":3,"kind":"dance","body":{}}`, "decode dance: unknown kind"},
		{"no body", `{"version":3,"kind":"leave"}`, "decode leave"},
		{"bytes behind", leave(`{"worker":"w","session":"s"}`) + "{}", "invalid character"},
		{"empty name", leave(`{"worker":"","session":"s"}`), "worker name \"\" has 0 bytes"},
		{"wildcard", leave(`{"worker":"w","session":"*"}`), `session name "*" contains '*'`},
		{"long name", leave(`{"worker":"` + strings.Repeat("w", 129) + `","session":"s"}`), "has 129 bytes"},
		{"too large", strings.Repeat(" ", wire.MaxSize+1), "at most"},
	} {
		_, err := wire.Decode([]byte(c.data))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one that contains %q", c.name, err, c.want)
		}
	}
	if _, err := wire.Decode([]byte(`{"version":9}`)); !errors.Is(err, wire.ErrVersion) {
		t.Errorf("error %v is not ErrVersion", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	change := func(f func(*wire.Plan)) wire.Plan { p := plan(); f(&p); return p }
	mesh := func(f func(*wire.Mesh)) wire.Plan { p := meshed(); f(p.Mesh); return p }
	for _, c := range []struct {
		m    wire.Message
		want string
	}{
		{change(func(p *wire.Plan) { p.Spec = nil }), "spec is missing"},
		{change(func(p *wire.Plan) { p.Generation = 0 }), "generation is 0"},
		{change(func(p *wire.Plan) { p.Rank = 3 }), "rank is 3; it must be 0 to 2"},
		{change(func(p *wire.Plan) { p.RestoreStep = -2 }), "restore_step is -2"},
		{change(func(p *wire.Plan) { p.Deadline = 0 }), "deadline is 0s"},
		{change(func(p *wire.Plan) { p.Members = nil }), "0 members"},
		{change(func(p *wire.Plan) { p.LaneCount = 4 }), "nobody carries lane 3"},
		{change(func(p *wire.Plan) { p.LaneCount = 2 }), "member w0 carries lane 2 of 2"},
		{change(func(p *wire.Plan) { p.Members[2].Lanes = []int{1} }), "lane 1 is carried by w1 and by w2"},
		{change(func(p *wire.Plan) { p.Members[2].ID = "w1" }), "member w1 is there twice"},
		{change(func(p *wire.Plan) { p.Mesh = &wire.Mesh{} }), "0 addresses of 3 members"},
		{mesh(func(m *wire.Mesh) { m.Peers[1].Address = "h1" }), `mesh: rank 1: address "h1" is not HOST:PORT`},
		{mesh(func(m *wire.Mesh) { m.Peers[1].Name = "" }), "mesh: rank 1 has no name"},
		{mesh(func(m *wire.Mesh) { m.Peers[1].Name = strings.Repeat("n", 300) }), "mesh: name of rank 1 has 300 bytes"},
		{mesh(func(m *wire.Mesh) { m.Authority = nil }), "mesh: authority is missing"},
		{mesh(func(m *wire.Mesh) { m.Authority, m.Certificate = nil, nil }), "mesh: rank 0 at h0:1: without certificates it must be a loopback address"},
		{mesh(func(m *wire.Mesh) {
			*m = wire.Mesh{Peers: []wire.MeshPeer{{Address: "127.0.0.1:1", Name: "a"}, {Address: "127.0.0.1:2", Name: "b"}, {Address: "[::1]:3", Name: "c"}}}
		}), "mesh: password is missing"},
		{mesh(func(m *wire.Mesh) { m.Certificate = make([]byte, 9000) }), "mesh: certificate has 9000 bytes"},
		{mesh(func(m *wire.Mesh) { m.Password = "" }), "mesh: password is missing"},
		{wire.Register{Worker: "w", Session: "s", Threads: 1, RingAddress: "h:1"}, `ring_key "" is not an Ed25519 public key`},
		{wire.Register{Worker: "w", Session: "s", Threads: 1, RingKey: "00"}, `ring_address: address "" is not HOST:PORT`},
		{wire.Registered{Interval: 2, Timeout: 1}, "interval"},
		{wire.Refused{}, "reason is empty"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: "asleep"}, "unknown activity"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Step: -1}, "step is -1"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Times: wire.Times{Wait: math.NaN()}}, "NaN"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Total: wire.Times{Add: -1}}, "time of -1 seconds"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Timed: -1}, "timed"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Gone: []string{"a b"}}, "gone"},
		{wire.Heartbeat{Worker: "w", Session: "s", Activity: wire.Idle, Gone: make([]string, 1025)}, "1025 members are gone"},
		{wire.Report{Worker: "w", Run: "r", Loss: math.Inf(1)}, "loss is +Inf"},
		{wire.Ended{Worker: "w", Run: "r", Outcome: "bored"}, "unknown outcome"},
		{wire.Ended{Worker: "w", Run: "r", Outcome: wire.Failed}, "without an error"},
		{wire.Ended{Worker: "w", Run: "r", Outcome: wire.Stopped, Error: "x"}, "with an error"},
		{wire.Abort{Reason: strings.Repeat("x", 1<<15)}, "reason has 32768 bytes"},
	} {
		if _, err := wire.Encode(c.m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: error %v; want one that contains %q", c.m, err, c.want)
		}
	}
}

func TestAs(t *testing.T) {
	if _, err := wire.As[wire.Ack](encode(t, wire.Ack{})); err != nil {
		t.Error(err)
	}
	_, err := wire.As[wire.Registered](encode(t, wire.Refused{Reason: "another build", Retry: true}))
	var refused *wire.Refused
	if !errors.As(err, &refused) || !refused.Retry || refused.Error() != "the coordinator refused: another build" {
		t.Errorf("a refusal gave the error %v", err)
	}
	if _, err := wire.As[wire.Registered](encode(t, wire.Ack{})); err == nil {
		t.Error("an ack was taken for a registration")
	}
}

func TestFinite(t *testing.T) {
	r := report()
	if got := r.Finite(); !reflect.DeepEqual(got, r) {
		t.Errorf("a finite report changed: %+v", got)
	}
	r.Loss = math.NaN()
	r.Health["b"], r.Health["a"] = math.Inf(-1), math.NaN()
	got := r.Finite()
	if want := []string{"loss", "a", "b"}; !reflect.DeepEqual(got.NonFinite, want) {
		t.Errorf("values that are not finite: %q; want %q", got.NonFinite, want)
	}
	if got.Loss != 0 || len(got.Health) != 1 || len(r.Health) != 3 {
		t.Errorf("report %+v of %+v", got, r)
	}
	encode(t, got)
}

func TestClip(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("é", 20_000), strings.Repeat("\xff", 20_000)} {
		c := wire.Clip(s)
		if !utf8.ValidString(c) {
			t.Errorf("Clip(%.10q) is not UTF-8", s)
		}
		m, err := wire.Decode(encode(t, wire.Abort{Reason: c}))
		if err != nil || m != (wire.Abort{Reason: c}) {
			t.Errorf("Clip(%.10q): %v", s, err)
		}
	}
	if got := wire.Clip("short"); got != "short" {
		t.Errorf("Clip(short) = %q", got)
	}
}

func TestSubjects(t *testing.T) {
	for _, c := range []struct{ got, want, pattern string }{
		{wire.PushSubject("host.a-1", "s_1"), "pupil.to.host~a-1.s_1", wire.PushSubjects},
		{wire.WorkerSubject("w", "s"), "pupil.from.w.s", wire.WorkerSubjects},
		{wire.InboxPrefix("w.1", "s"), "pupil.inbox.w~1.s", wire.InboxSubjects},
		{wire.RingPrefix("v1.0"), "pupil.ring.v1~0", wire.RingSubjects},
	} {
		if c.got != c.want || !strings.HasPrefix(c.got, strings.TrimSuffix(c.pattern, ">")) {
			t.Errorf("subject %q; want %q, within %q", c.got, c.want, c.pattern)
		}
	}
}

func TestSender(t *testing.T) {
	if w, s, ok := wire.Sender(wire.WorkerSubject("host.a-1", "s.1")); w != "host.a-1" || s != "s.1" || !ok {
		t.Errorf("the sender is %q, %q, %v", w, s, ok)
	}
	for _, subject := range []string{"", "pupil.from.a", "pupil.from.a.b.c", "pupil.to.a.b", "pupil.inbox.a.b"} {
		if w, s, ok := wire.Sender(subject); ok {
			t.Errorf("%q is of %q, %q", subject, w, s)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range messages() {
		f.Add(encode(f, m))
	}
	f.Add([]byte(`{"version":3,"kind":"report","body":{"loss":1e999}}`))
	f.Add([]byte(`{"version":3,"kind":"plan","body":{"members":[{"id":"a","lanes":[-1]}],"lane_count":99999999}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := wire.Decode(data)
		if err != nil {
			return
		}
		again, err := wire.Decode(encode(t, m))
		if err != nil {
			t.Fatalf("%T does not come back: %v", m, err)
		}
		if a, b := fmt.Sprintf("%+v", m), fmt.Sprintf("%+v", again); a != b && !strings.Contains(a, "0x") {
			t.Fatalf("%s became %s", a, b)
		}
	})
}

func Example() {
	data, err := wire.Encode(wire.Abort{Generation: 4, Reason: "worker w2 was lost: its connection closed"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(data))
	m, err := wire.Decode(data)
	if abort, ok := m.(wire.Abort); ok {
		fmt.Println(abort.Generation, abort.Reason, err)
	}
	// Output:
	// {"version":3,"kind":"abort","body":{"generation":4,"reason":"worker w2 was lost: its connection closed"}}
	// 4 worker w2 was lost: its connection closed <nil>
}
