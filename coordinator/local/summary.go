package local

import "time"

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

// Scores are accuracies on the held-out images; nil: not measured.
type Scores struct {
	Teacher   *float64 `json:"teacher"`
	Untrained *float64 `json:"untrained"` // the student before its first step
	Student   *float64 `json:"student"`
}
