package local

import (
	"maps"
	"time"

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
