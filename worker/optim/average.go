package optim

import "slices"

// AverageConfig is how the average of the weights is taken.
type AverageConfig struct {
	Decay  float64 // what the average keeps in a step, above 0 and below 1, often 0.999 or 0.9999
	Warmup bool    // keep less in the first steps, so that the random start is forgotten
}

// Validate returns every fault of the configuration in one error.
func (c AverageConfig) Validate() error {
	f := &faults{section: "average"}
	f.number(c.Decay > 0 && c.Decay < 1, "decay", c.Decay, "above 0 and below 1")
	return f.err()
}

// decay is what is kept in a step, from 0. TensorFlow's ExponentialMovingAverage has the same warm-up.
func (c AverageConfig) decay(step int) float64 {
	if !c.Warmup {
		return c.Decay
	}
	return min(c.Decay, float64(1+step)/float64(10+step))
}

// Average is the exponential moving average of a network's weights and of its norms' running statistics (Polyak and
// Juditsky 1992; Tarvainen and Valpola, "Mean teachers", NeurIPS 2017), which often gives a better network than the
// last weights do. From the values x after update number step = 0, 1, ...
//
//	d = decay                                          without warm-up
//	d = min(decay, (1 + step) / (10 + step))           with warm-up
//	average = average + (1 - d) * (x - average)
//
// and it starts at the values before the first update. The running statistics are averaged with the weights, as in
// timm: those of the last weights do not fit the average.
//
// An element is computed in float64 and rounded once, to float32. So it follows a value that stays until their
// difference is at most 2^-24 / (1 - d) of it (6e-5 for a decay of 0.999, 6e-4 for 0.9999), and then stops.
//
// Without averaging, a nil *Average stands for it: its methods do nothing and return nothing.
type Average struct {
	config             AverageConfig
	params, statistics []float32
}

// NewAverage starts an average at params and statistics, which it copies.
func NewAverage(c AverageConfig, params, statistics []float32) (*Average, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Average{config: c, params: slices.Clone(params), statistics: slices.Clone(statistics)}, nil
}

// Update takes the values after update number step (from 0) into the average. The vectors have the lengths of
// NewAverage's.
func (a *Average) Update(params, statistics []float32, step int) {
	if a == nil {
		return
	}
	share := 1 - a.config.decay(step)
	approach(a.params, params, share)
	approach(a.statistics, statistics, share)
}

// approach moves average towards x by a share of the way.
func approach(average, x []float32, share float64) {
	x = x[:len(average)]
	for i, v := range average {
		average[i] = float32(float64(v) + float64(share*(float64(x[i])-float64(v))))
	}
}

// Params are the averaged weights: a view, not a copy.
func (a *Average) Params() []float32 {
	if a == nil {
		return nil
	}
	return a.params
}

// Statistics are the averaged running statistics: a view, not a copy.
func (a *Average) Statistics() []float32 {
	if a == nil {
		return nil
	}
	return a.statistics
}

// Moments are the state that the next update depends on, for checkpoints: the weights, and the statistics of a network
// that has some.
func (a *Average) Moments() []Moment {
	if a == nil {
		return nil
	}
	moments := []Moment{{Name: "average_weights", Values: a.params}}
	if len(a.statistics) > 0 {
		moments = append(moments, Moment{Name: "average_statistics", Values: a.statistics})
	}
	return moments
}
