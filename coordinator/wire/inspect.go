package wire

import "errors"

// Inspect asks a worker to describe its process. It is pushed.
type Inspect struct {
	Request string `json:"request"` // a random name
}

func (Inspect) kind() string      { return "inspect" }
func (m Inspect) validate() error { return CheckName("request", m.Request) }

// Inspected answers an Inspect. It is not acknowledged.
type Inspected struct {
	Worker  string `json:"worker"`
	Session string `json:"session"`
	Request string `json:"request"` // that of the Inspect
	Report  string `json:"report"`  // JSON of a diagnose.Process
}

// maxInspection is the longest report, in bytes.
const maxInspection = 2 << 20

func (Inspected) kind() string { return "inspected" }

func (m Inspected) validate() error {
	return errors.Join(checkWorker(m.Worker, m.Session), CheckName("request", m.Request), checkText("report", m.Report, maxInspection))
}
