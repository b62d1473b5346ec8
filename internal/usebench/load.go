package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"pupil/internal/random"
	"pupil/worker/student"
	"pupil/worker/student/serve"
)

// load asks a server of the student with two threads: within its limit, and over it.
func load(ctx context.Context, w io.Writer, m *student.Model, requests, connections int) error {
	photo, err := picture()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "worker serve, %s at %d x %[2]d, 2 threads, JPEG of 256 x 256 (%d bytes), %d connections\n", m.Config.Architecture,
		m.Config.Size, len(photo), connections)
	c := serve.DefaultConfig()
	c.Threads, c.Timeout = 2, time.Minute // a busy machine is slow, which is no error
	if err := attack(ctx, w, "within the limit of 128", m, c, photo, requests, connections); err != nil {
		return err
	}
	c.Requests = connections / 4
	return attack(ctx, w, fmt.Sprintf("over the limit of %d", c.Requests), m, c, photo, requests/5, connections)
}

// picture is a photograph's size of smooth colours with some noise.
func picture() ([]byte, error) {
	r := random.New(random.PurposeTest, 2)
	img := image.NewRGBA(image.Rect(0, 0, 256, 256))
	for y := range 256 {
		for x := range 256 {
			n := r.IntN(24)
			img.Set(x, y, color.RGBA{uint8(x/2 + n), uint8(y/2 + n), uint8((x+y)/4 + n), 255})
		}
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, nil)
	return b.Bytes(), err
}

func attack(ctx context.Context, w io.Writer, name string, m *student.Model, c serve.Config, photo []byte, requests, connections int) error {
	s, err := serve.New(m, nil, nil, c)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}}
	var next, refused, others atomic.Int64
	seconds := make([][]float64, connections)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() {
			for next.Add(1) <= int64(requests) {
				start := time.Now()
				code, err := ask(ctx, client, "http://"+l.Addr().String()+"/v1/features", photo)
				switch {
				case err == nil && code == http.StatusOK:
					seconds[i] = append(seconds[i], time.Since(start).Seconds())
				case err == nil && code == http.StatusTooManyRequests:
					refused.Add(1)
				default:
					others.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	end()
	client.CloseIdleConnections()
	var all []float64
	for _, v := range seconds {
		all = append(all, v...)
	}
	if len(all) == 0 {
		return errors.Join(errors.New("no request was answered"), <-ended)
	}
	fmt.Fprintf(w, "%s: %d requests, %d answered, %d refused with 429, %d errors; %.0f answers/s; p50 %.0f ms, p99 %.0f ms; memory %d MB\n",
		name, requests, len(all), refused.Load(), others.Load(), float64(len(all))/took, 1e3*quantile(all, 0.5), 1e3*quantile(all, 0.99),
		memory.Sys>>20)
	return <-ended
}

func ask(ctx context.Context, client *http.Client, url string, photo []byte) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(photo))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "image/jpeg")
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}
