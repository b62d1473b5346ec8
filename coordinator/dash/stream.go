package dash

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pupil/coordinator/api"
	"pupil/coordinator/cluster"
	"pupil/coordinator/control"
	"pupil/coordinator/view"
)

// The times of a stream.
const (
	pace = 400 * time.Millisecond // between messages at least
	beat = 10 * time.Second       // without a message, a comment shows that the stream lives
)

// stream sends what changes as server-sent events: "status" (api.Status); "events", a list of events whose last sequence is
// the id, so that Last-Event-ID resumes them; and "series" (history.Update) of the run that the query names.
func (s *Site) stream(w http.ResponseWriter, r *http.Request, leader *control.Service) error {
	after, err := lastEvent(r)
	if err != nil {
		return err
	}
	changes := leader.Watch(r.Context())
	now, open := <-changes
	if !open || now.State == nil {
		return starting()
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that would keep it back
	out := &events{to: w, control: http.NewResponseController(w), site: s, after: after, run: r.URL.Query().Get("run")}
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	changed := true
	for {
		if changed {
			out.status(now)
		}
		out.series()
		if changed = false; out.flush(time.Now()) != nil {
			return nil // the other side has gone
		}
		for waiting := true; waiting; {
			select {
			case st, open := <-changes:
				if !open {
					return nil
				}
				if st.State != nil {
					now, changed = st, true
				}
			case <-ticker.C:
				waiting = false
			}
		}
	}
}

// lastEvent is the sequence of the newest event that the other side has.
func lastEvent(r *http.Request) (uint64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &api.Error{Code: api.Invalid, Text: "Last-Event-ID is " + strconv.Quote(text) + "; give the id of an event"}
	}
	return after, nil
}

// events writes the stream's messages.
type events struct {
	to      io.Writer
	control *http.ResponseController
	site    *Site
	run     string
	after   uint64 // sequence of the newest event that was sent
	version uint64 // of the series that was sent
	step    int    // its last one
	last    time.Time
	sent    bool // something since the last flush
	err     error
}

// status sends where things stand, and what has happened since.
func (e *events) status(st control.Status) {
	e.send("status", "", view.Status(e.site.ID, st))
	var news []cluster.Event
	for _, x := range st.Events {
		if x.Sequence > e.after {
			news = append(news, x)
		}
	}
	if len(news) > 0 {
		e.after = news[len(news)-1].Sequence
		e.send("events", fmt.Sprintf("id: %d\n", e.after), news)
	}
}

func (e *events) series() {
	u := e.site.History.Since(e.run, e.version, e.step)
	if u == nil {
		return
	}
	e.version = u.Version
	if n := len(u.Series.Steps); n > 0 {
		e.step = u.Series.Steps[n-1]
	}
	e.send("series", "", u)
}

func (e *events) send(kind, id string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		_, err = fmt.Fprintf(e.to, "event: %s\n%sdata: %s\n\n", kind, id, data)
	}
	e.sent = true
	if e.err == nil {
		e.err = err
	}
}

// flush sends what was written, or now and then a comment.
func (e *events) flush(now time.Time) error {
	if !e.sent && now.Sub(e.last) < beat {
		return nil
	}
	if !e.sent {
		_, e.err = io.WriteString(e.to, ": it lives\n\n")
	}
	e.sent, e.last = false, now
	if e.err != nil {
		return e.err
	}
	return e.control.Flush()
}
