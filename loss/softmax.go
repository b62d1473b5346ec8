package loss

import (
	"pupil/internal/kernel"
	"pupil/internal/random/elementary"
)

const (
	floor    = 1e-12                // log x means log max(x, floor), with gradient 0 under it
	logFloor = -27.6310211159285482 // log(1e-12)
	lowest   = -0x1p1000            // stands for minus infinity where 0 times it must be 0
)

// floorLog returns log max(x, floor) for x of 0 or more.
func floorLog(x float64) float64 {
	if x < floor {
		return logFloor
	}
	return elementary.Log(x)
}

// softmaxes writes p = softmax(f / temperature) of each run of width features, and its logarithm, for vectors of equal length and
// finite f. A logarithm is at least lowest.
func softmaxes(p, logP, f []float64, width int, temperature float64) {
	for at := 0; at < len(f); at += width {
		run := f[at:][:width]
		top := run[0]
		for _, v := range run[1:] {
			top = max(top, v)
		}
		for j, v := range run {
			logP[at+j] = max((v-top)/temperature, lowest)
		}
	}
	kernel.Exps(p[:len(f)], logP[:len(f)])
	for at := 0; at < len(f); at += width {
		run, logs, sum := p[at:][:width], logP[at:][:width], 0.0
		for _, e := range run {
			sum += e
		}
		logSum := elementary.Log(sum)
		for j := range run {
			run[j] /= sum
			logs[j] -= logSum
		}
	}
}

// logSoftmax replaces z by log softmax(z).
func logSoftmax(z []float64) {
	top := z[0]
	for _, v := range z[1:] {
		top = max(top, v)
	}
	sum := 0.0
	for j := range z {
		z[j] -= top
		sum += elementary.Exp(z[j])
	}
	logSum := elementary.Log(sum)
	for j := range z {
		z[j] -= logSum
	}
}
