package local

import (
	"cmp"
	"math"
	"slices"
	"time"

	"pupil/coordinator/control"
	"pupil/coordinator/wire"
)

// Summary is what a run has reached: summary.json, and what --json prints.
type Summary struct {
	Job               string   `json:"job"`
	Outcome           string   `json:"outcome"` // finished or stopped
	Steps             int      `json:"steps"`   // committed
	TotalSteps        int      `json:"total_steps"`
	Workers           int      `json:"workers"`
	Threads           int      `json:"threads"`           // of each worker
	Seconds           float64  `json:"seconds"`           // of training, in this start
	ImagesPerSecond   float64  `json:"images_per_second"` // of training, in this start
	SkippedImages     int      `json:"skipped_images"`    // broken ones that were replaced, in this start (dataset.broken: skip)
	SaturatedValues   int      `json:"saturated_values"`  // of gradients and statistics, beyond the fixed-point range, in this start
	Loss              float64  `json:"loss"`              // of the last step
	MutualInformation float64  `json:"mutual_information"`
	Accuracy          *float64 `json:"accuracy"`     // top-1 of the student's logits on the held-out images, where they are the classes
	UsedClasses       int      `json:"used_classes"` // by the student in the last step, over all feature groups
	KNN               Scores   `json:"knn"`          // k-nearest-neighbour classification by pooled features
	Probe             Scores   `json:"probe"`        // linear classification of pooled features
	WeightsSHA256     string   `json:"weights_sha256"`

	Communication *Communication `json:"communication,omitempty"` // nil: there was one worker

	// Health are the newest values beside the loss: each term, entropies in nats, the effective rank when it was last
	// measured, the gradient's norm.
	Health map[string]float64 `json:"health"`

	JobDigest string `json:"job_digest"`
	Kernel    string `json:"kernel"`
	Version   string `json:"version"`
	Folder    string `json:"folder"`
	Student   string `json:"student"` // folder of model.safetensors and config.json; "" until the job is finished

	Resume string `json:"resume,omitempty"` // the command that goes on, after a stop

	Ended time.Time `json:"ended"`
}

// Communication is where the workers' time went, in this start.
type Communication struct {
	// Hidden is the share of the gradients' way between the workers that went on while lanes computed. It is that of the
	// worker whose sums came soonest after its lanes: the others had also to wait for it to compute.
	Hidden  float64       `json:"hidden"`
	Workers []WorkerTimes `json:"workers"` // by rank
}

// WorkerTimes is where a worker's time went, in seconds, on the mean of its steps.
type WorkerTimes struct {
	Worker string `json:"worker"`
	Steps  int    `json:"steps"`
	wire.Times
	Hidden float64 `json:"hidden"`
}

// communication is that of workers which have told where their time went, nil if fewer than two have.
func communication(workers []control.WorkerStatus) *Communication {
	workers = slices.DeleteFunc(slices.Clone(workers), func(w control.WorkerStatus) bool { return w.Timed == 0 || w.Rank < 0 })
	if len(workers) < 2 {
		return nil
	}
	slices.SortFunc(workers, func(a, b control.WorkerStatus) int { return cmp.Compare(a.Rank, b.Rank) })
	c := &Communication{}
	least := math.Inf(1)
	for _, w := range workers {
		mean := w.Total.Mean(w.Timed)
		c.Workers = append(c.Workers, WorkerTimes{Worker: w.ID, Steps: w.Timed, Times: mean, Hidden: mean.Hidden()})
		if mean.Exposed < least {
			least, c.Hidden = mean.Exposed, mean.Hidden()
		}
	}
	return c
}

// Scores are accuracies on the held-out images; nil: not measured.
type Scores struct {
	Teacher   *float64 `json:"teacher"`
	Untrained *float64 `json:"untrained"` // the student before its first step
	Student   *float64 `json:"student"`
}
