package local

import (
	"maps"
	"time"

	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// pace measures the training of this start.
type pace struct {
	first, latest time.Time
	images        int // after the first report
	skipped       int // broken images that were replaced
	saturated     int // values that left the fixed-point range
	last          *wire.Report
	health        map[string]float64 // the newest of each value; some are not measured in each step
	workers       map[string]control.WorkerStatus
}

// told keeps the newest that each worker has told of where its time goes, with the rank that it had: when the run has
// ended, it has none.
func (p *pace) told(workers []control.WorkerStatus) {
	if p.workers == nil {
		p.workers = map[string]control.WorkerStatus{}
	}
	for _, w := range workers {
		if before, known := p.workers[w.ID]; w.Rank < 0 && known {
			w.Rank = before.Rank
		}
		p.workers[w.ID] = w
	}
}

func (p *pace) add(now time.Time, r wire.Report) {
	if p.last == nil {
		p.first = now.Add(-time.Duration(r.Seconds * float64(time.Second)))
	}
	if p.health == nil {
		p.health = map[string]float64{}
	}
	maps.Copy(p.health, r.Health)
	p.images += r.Images
	p.skipped += int(r.Health["skipped"])
	p.saturated += int(r.Health["saturated"])
	p.latest, p.last = now, &r
}

func (p *pace) seconds() float64 { return p.latest.Sub(p.first).Seconds() }

func (p *pace) imagesPerSecond() float64 {
	if s := p.seconds(); s > 0 {
		return float64(p.images) / s
	}
	return 0
}
