package serve_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"io"
	"math"
	"mime/multipart"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"pupil/worker/student"
	"pupil/worker/student/gallery"
	"pupil/worker/student/images"
	"pupil/worker/student/serve"
)

var model = sync.OnceValues(func() (*student.Model, error) {
	return student.Open(context.Background(), "../../../deploy/examples/fashion-teacher")
})

func TestMain(m *testing.M) {
	openapi3filter.RegisterBodyDecoder("text/html", func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		data, err := io.ReadAll(r)
		return string(data), err
	})
	m.Run()
}

// square is a grey PNG with a bright square.
func square(t testing.TB, at int) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 28, 28))
	for y := at; y < at+10; y++ {
		for x := at; x < at+10; x++ {
			img.Pix[y*img.Stride+x] = 200
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// running is a server with all that it can have, and its address. It ends with the test.
type running struct {
	t      testing.TB
	url    string
	end    context.CancelFunc
	ended  chan error
	router routers.Router
}

func start(t testing.TB, change func(*serve.Config)) *running {
	t.Helper()
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	classifier, err := m.Classifier(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := gallery.New(m.Digest, m.Network.Features())
	set := images.FromItems([]string{"near", "far"}, images.Of("1", 0, square(t, 1)), images.Of("2", 0, square(t, 3)),
		images.Of("3", 1, square(t, 15)), images.Of("4", 1, square(t, 17)))
	f, err := m.Collect(t.Context(), set, student.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for i, label := range f.Labels {
		if _, err := g.Add(set.Classes[label], f.Names[i], f.Row(i)); err != nil {
			t.Fatal(err)
		}
	}
	g.Calibrate(0.01)
	return with(t, m, classifier, g, change)
}

func with(t testing.TB, m *student.Model, classifier *student.Classifier, g *gallery.Gallery, change func(*serve.Config)) *running {
	t.Helper()
	c := serve.DefaultConfig()
	if change != nil {
		change(&c)
	}
	s, err := serve.New(m, classifier, g, c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(serve.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	r := &running{t: t, url: "http://" + l.Addr().String(), end: end, ended: make(chan error, 1), router: router}
	go func() { r.ended <- s.Run(ctx, l) }()
	t.Cleanup(func() {
		end()
		<-r.ended
	})
	return r
}

// do sends a request, and holds its answer against the description of the interface.
func (r *running) do(request *http.Request) (*http.Response, []byte) {
	r.t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	route, parameters, err := r.router.FindRoute(request)
	if err != nil {
		r.t.Fatalf("%s %s is not described: %v", request.Method, request.URL.Path, err)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: parameters, Route: route},
		Status:                 response.StatusCode, Header: response.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		r.t.Errorf("%s %s: the answer is not as described: %v", request.Method, request.URL.Path, err)
	}
	return response, body
}

func (r *running) request(method, path, kind string, body io.Reader) *http.Request {
	r.t.Helper()
	request, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	return request
}

func (r *running) post(path, kind string, body []byte) (int, []byte) {
	r.t.Helper()
	response, answer := r.do(r.request(http.MethodPost, path, kind, bytes.NewReader(body)))
	return response.StatusCode, answer
}

// form is a request with files.
func form(t testing.TB, files ...[]byte) (kind string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("note", "no image"); err != nil {
		t.Fatal(err)
	}
	for i, data := range files {
		part, err := w.CreateFormFile("image", fmt.Sprintf("%d.png", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

type answered struct {
	Student string
	Results []struct {
		Name       string
		Features   []float32
		Classes    []student.Guess
		Identity   string
		Known      bool
		Candidates []gallery.Candidate
	}
}

func decode(t testing.TB, code int, body []byte) (a answered) {
	t.Helper()
	if err := json.Unmarshal(body, &a); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	return a
}

func TestTheDescriptionIsValidAndWhole(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(serve.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve.New(m, nil, nil, serve.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var served []string
	for _, p := range s.Patterns() {
		served = append(served, strings.TrimSuffix(p, "{$}"))
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described %q, served %q", described, served)
	}
}

func TestAnswers(t *testing.T) {
	r := start(t, nil)
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Collect(t.Context(), images.FromItems(nil, images.Of("a", -1, square(t, 2)), images.Of("b", -1, square(t, 16))), student.StreamConfig{})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"images":[{"name":"a","data":%q},{"data":%q}]}`, base64.StdEncoding.EncodeToString(square(t, 2)),
		base64.StdEncoding.EncodeToString(square(t, 16)))
	kind, body := form(t, square(t, 2), square(t, 16))
	for _, c := range []struct {
		kind  string
		body  []byte
		names []string
	}{
		{"image/png", square(t, 2), []string{"image"}},
		{"application/octet-stream", square(t, 2), []string{"image"}},
		{kind, body, []string{"0.png", "1.png"}},
		{"application/json", []byte(text), []string{"a", "image 2"}},
	} {
		code, got := r.post("/v1/features", c.kind, c.body)
		a := decode(t, code, got)
		if a.Student != m.Digest || len(a.Results) != len(c.names) {
			t.Fatalf("%s: %s", c.kind, got)
		}
		for i, result := range a.Results {
			if result.Name != c.names[i] || !slices.Equal(result.Features, want.Row(i)) {
				t.Errorf("%s: %s has other features than extract gives", c.kind, result.Name)
			}
		}
		code, got = r.post("/v1/identify?top=1", c.kind, c.body)
		for i, result := range decode(t, code, got).Results {
			if near := []string{"near", "far"}[i]; len(result.Candidates) != 1 || result.Candidates[0].Identity != near {
				t.Errorf("%s: %s", c.kind, got)
			}
		}
		code, got = r.post("/v1/classify?top=3", c.kind, c.body)
		for _, result := range decode(t, code, got).Results {
			if len(result.Classes) != 3 || result.Classes[0].Probability < result.Classes[2].Probability {
				t.Errorf("%s: %s", c.kind, got)
			}
		}
	}
	code, got := r.post("/v1/features?normalize=true", "image/png", square(t, 2))
	length := 0.0
	for _, v := range decode(t, code, got).Results[0].Features {
		length += float64(v) * float64(v)
	}
	if math.Abs(length-1) > 1e-5 {
		t.Errorf("length %v", length)
	}
	for path, want := range map[string]string{
		"/healthz": "alive", "/readyz": "ready", "/openapi.json": "3.0.3", "/": "Drop an image", "/v1/info": `"identities":2`,
		"/metrics": `pupil_serve_requests_total{code="200",path="/v1/features"} 5`,
	} {
		if response, body := r.do(r.request(http.MethodGet, path, "", nil)); response.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d, no %q in %.300s", path, response.StatusCode, want, body)
		}
	}
}

// enormous is the beginning of a PNG of many pixels.
func enormous(side uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), side)
	head = append(binary.BigEndian.AppendUint32(head, side), 8, 2, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	return binary.BigEndian.AppendUint32(append(b, head...), crc32.ChecksumIEEE(head))
}

// point is a PNG of one pixel.
func point(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRefuses(t *testing.T) {
	r := start(t, func(c *serve.Config) { c.MaxBody, c.Pixels, c.Images = 4096, 2000, 2 })
	big := make([]byte, 5000)
	many, three := form(t, square(t, 1), square(t, 2), square(t, 3))
	none, empty := form(t)
	for name, c := range map[string]struct {
		path, kind string
		body       []byte
		code       int
		word       string
	}{
		"not an image":     {"/v1/features", "image/png", []byte("no image"), 422, "broken_image"},
		"truncated":        {"/v1/classify", "image/png", square(t, 1)[:60], 422, "broken_image"},
		"1 x 1":            {"/v1/classify", "image/png", point(t), 200, "classes"},
		"empty":            {"/v1/classify", "image/png", nil, 422, "broken_image"},
		"30,000 x 30,000":  {"/v1/features", "image/png", enormous(30000), 413, "image_too_large"},
		"too many pixels":  {"/v1/features", "image/png", enormous(45), 413, "image_too_large"},
		"oversize body":    {"/v1/features", "image/png", big, 413, "body_too_large"},
		"too many images":  {"/v1/features", many, three, 413, "too_many_images"},
		"no image":         {"/v1/features", none, empty, 400, "bad_request"},
		"no JSON":          {"/v1/features", "application/json", []byte("{"), 400, "bad_request"},
		"unknown key":      {"/v1/features", "application/json", []byte(`{"image":[]}`), 400, "bad_request"},
		"no base64":        {"/v1/features", "application/json", []byte(`{"images":[{"data":"?"}]}`), 400, "bad_request"},
		"two values":       {"/v1/features", "application/json", []byte(`{"images":[]} {}`), 400, "bad_request"},
		"no boundary":      {"/v1/features", "multipart/form-data", []byte("x"), 400, "bad_request"},
		"cut form":         {"/v1/features", many, three[:300], 400, "bad_request"},
		"text":             {"/v1/features", "text/plain", []byte("x"), 415, "media_type"},
		"no type":          {"/v1/features", "", []byte("x"), 415, "media_type"},
		"broken type":      {"/v1/features", "image/", []byte("x"), 400, "bad_request"},
		"top of 0":         {"/v1/classify?top=0", "image/png", square(t, 1), 400, "bad_request"},
		"top of x":         {"/v1/identify?top=x", "image/png", square(t, 1), 400, "bad_request"},
		"normalize of yes": {"/v1/features?normalize=yes", "image/png", square(t, 1), 400, "bad_request"},
	} {
		code, body := r.post(c.path, c.kind, c.body)
		if code != c.code || !strings.Contains(string(body), c.word) {
			t.Errorf("%s: %d %s, want %d %s", name, code, body, c.code, c.word)
		}
	}
	// A body whose length nobody has said is bounded as well.
	endless := r.request(http.MethodPost, "/v1/features", "image/png", io.MultiReader(bytes.NewReader(big), bytes.NewReader(big)))
	if response, body := r.do(endless); response.StatusCode != 413 {
		t.Errorf("a long body of unknown length: %d %s", response.StatusCode, body)
	}
	if code, body := r.post("/v1/features", "image/png", square(t, 1)); code != 200 {
		t.Errorf("after all that: %d %s", code, body)
	}
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	bare := with(t, m, nil, nil, nil)
	for path, word := range map[string]string{"/v1/classify": "no_classifier", "/v1/identify": "no_gallery"} {
		if code, body := bare.post(path, "image/png", square(t, 1)); code != 404 || !strings.Contains(string(body), word) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestTokens(t *testing.T) {
	const token, other = "0123456789abcdef", "fedcba9876543210"
	r := start(t, func(c *serve.Config) { c.Tokens = []string{token, other} })
	for header, code := range map[string]int{
		"": 401, "Bearer ": 401, "Bearer " + token + "x": 401, "Basic " + token: 401, token: 401,
		"Bearer " + token: 200, "Bearer " + other: 200,
	} {
		for _, path := range []string{"/v1/classify", "/v1/info", "/metrics"} {
			method := http.MethodGet
			if path == "/v1/classify" {
				method = http.MethodPost
			}
			request := r.request(method, path, "image/png", bytes.NewReader(square(t, 1)))
			if header != "" {
				request.Header.Set("Authorization", header)
			}
			response, body := r.do(request)
			if response.StatusCode != code || (code == 401) != (response.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("%s with %q: %d %s", path, header, response.StatusCode, body)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/", "/openapi.json"} {
		if response, _ := r.do(r.request(http.MethodGet, path, "", nil)); response.StatusCode != 200 {
			t.Errorf("%s wants a token", path)
		}
	}
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	c := serve.DefaultConfig()
	c.Tokens, c.Threads = []string{"short"}, 0
	if _, err := serve.New(m, nil, nil, c); err == nil || !strings.Contains(err.Error(), "token 1 has 5") || !strings.Contains(err.Error(), "threads is 0") {
		t.Errorf("got %v", err)
	}
	if _, err := serve.New(m, nil, gallery.New(m.Digest, 128), serve.DefaultConfig()); err == nil {
		t.Error("an empty gallery is served")
	}
}

func Example() {
	m, err := student.Open(context.Background(), "../../../deploy/examples/fashion-teacher")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := serve.New(m, nil, nil, serve.DefaultConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, l) }()
	response, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err == nil {
		fmt.Println(response.Status)
		response.Body.Close()
	}
	end()
	fmt.Println(<-ended)
	// Output:
	// 200 OK
	// <nil>
}
