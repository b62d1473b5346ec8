package agent

import (
	"encoding/json"

	"pupil/coordinator/wire"
	"pupil/internal/diagnose"
)

// describe tells the coordinator about this process.
func (a *agent) describe(m wire.Inspect) {
	report, err := json.Marshal(diagnose.Read("worker", a.config.Kernel))
	if err == nil {
		var data []byte
		data, err = wire.Encode(wire.Inspected{
			Worker: a.config.ID, Session: a.session, Request: m.Request, Report: string(report),
		})
		if err == nil {
			err = a.nc.Publish(wire.WorkerSubject(a.config.ID, a.session), data)
		}
	}
	if err != nil { // who has asked gives up after a while
		a.logger.Warn("could not describe this process", "err", err)
	}
}
