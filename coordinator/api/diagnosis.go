package api

import (
	"context"
	"net/http"
	neturl "net/url"

	"pupil/internal/diagnose"
)

// Process describes a process: build, machine, memory and the stacks of its goroutines.
type Process = diagnose.Process

// Diagnosis describes a coordinator. It holds no secret.
type Diagnosis struct {
	ID       string         `json:"id"`
	Leads    bool           `json:"leads"`
	Leader   string         `json:"leader"` // id of who leads, as it knows; "": nobody
	Term     uint64         `json:"term"`
	Trouble  string         `json:"trouble"` // why it cannot answer commands; "": it can
	Members  []Member       `json:"members"`
	Settings map[string]any `json:"settings"`
	Process  Process        `json:"process"`
}

// Diagnose describes the coordinator that answers.
func (c *Client) Diagnose(ctx context.Context) (*Diagnosis, error) {
	return call[Diagnosis](ctx, c, http.MethodGet, "/v1/diagnosis", nil)
}

// Inspect describes a worker's process.
func (c *Client) Inspect(ctx context.Context, worker string) (*Process, error) {
	return call[Process](ctx, c, http.MethodGet, "/v1/workers/"+neturl.PathEscape(worker)+"/process", nil)
}
