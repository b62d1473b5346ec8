package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"pupil/internal/contest"
	"pupil/loss"
	"pupil/worker/nn"
)

// peerScript is PyTorch's side, which describes the commands that it takes.
const peerScript = "internal/bench/torch/peer.py"

// missing says what to do when Python lacks a package.
const missing = "install it with apt-get install python3-torch python3-torchvision libopenblas0 (make bench-torch " +
	"does), or name a Python that has torch and torchvision with --python"

// peer is a process that runs PyTorch's side, for one case.
type peer struct{ *contest.Process }

// startPeer starts Python with a number of threads for everything that looks at the environment.
func startPeer(ctx context.Context, python, script string, threads int) (peer, error) {
	environment := []string{waitPolicy + "=" + policy()}
	for _, name := range []string{"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} {
		environment = append(environment, name+"="+strconv.Itoa(threads))
	}
	p, err := contest.Start(ctx, []string{python, script}, environment...)
	if err != nil {
		return peer{}, fmt.Errorf("PyTorch's side: %w; %s", err, missing)
	}
	return peer{p}, nil
}

// waitPolicy says whether OpenMP's threads sleep or spin while they wait for each other.
const waitPolicy = "OMP_WAIT_POLICY"

// policy is the environment's, or passive: on a machine that others use too, threads that spin take time from the one
// that they wait for, and PyTorch's steps were two to three times as long.
func policy() string {
	if p := os.Getenv(waitPolicy); p != "" {
		return p
	}
	return "passive"
}

// ask sends a command and reads its answer.
func (p peer) ask(command map[string]any, answer any) error {
	err := p.Ask(fmt.Sprint(command["do"]), command, answer)
	switch {
	case errors.Is(err, contest.ErrMissing):
		return fmt.Errorf("PyTorch's side: %w; %s", err, missing)
	case err != nil:
		return fmt.Errorf("PyTorch's side: %w", err)
	}
	return nil
}

// torchVersions is what PyTorch's side says about itself.
type torchVersions struct {
	Torch       string `json:"torch"`
	Torchvision string `json:"torchvision"`
}

// spec tells PyTorch's side what a case computes.
type spec struct {
	Kind      kind           `json:"kind"` // a memory case's is step
	Operation *operation     `json:"operation,omitempty"`
	Folder    string         `json:"folder"`
	Threads   int            `json:"threads"`
	Network   string         `json:"network,omitempty"`
	Teacher   specNetwork    `json:"teacher"`
	Student   specNetwork    `json:"student"`
	Optimizer map[string]any `json:"optimizer"`
	Prior     specPrior      `json:"prior"`
	Views     *specViews     `json:"views,omitempty"` // images are decoded
}

// specViews say how images become the two views.
type specViews struct {
	Files   string     `json:"files"` // a folder, which is written before the first decoding
	Teacher [2]float64 `json:"teacher"`
	Student [2]float64 `json:"student"`
	Ratio   [2]float64 `json:"ratio"`
	Flip    float64    `json:"flip"`
}

type specNetwork struct {
	Architecture string  `json:"architecture"`
	Width        float64 `json:"width"`
	Outputs      int     `json:"outputs"`
	Size         int     `json:"size"`
}

type specPrior struct {
	M                  []float64 `json:"m"`
	D                  []float64 `json:"d"`
	A                  []float64 `json:"a"`
	Weights            []float64 `json:"weights"`
	Rate               float64   `json:"rate"` // of the natural update
	TeacherTemperature float64   `json:"teacher_temperature"`
	StudentTemperature float64   `json:"student_temperature"`
}

func newSpec(c benchmark, m *models) (spec, error) {
	if c.kind == oneKernel {
		return spec{Kind: c.kind, Threads: c.threads, Operation: c.operation}, nil
	}
	folder, err := filepath.Abs(m.folder)
	if err != nil {
		return spec{}, err
	}
	prior, err := priorOf(m)
	if err != nil {
		return spec{}, err
	}
	s := spec{
		Kind: c.kind, Folder: folder, Threads: c.threads, Network: c.network,
		Teacher: networkSpec(c.pair.teacher), Student: networkSpec(c.pair.student),
		Optimizer: map[string]any{
			"rate": rate, "weight_decay": adamw.WeightDecay,
			"beta1": adamw.Beta1, "beta2": adamw.Beta2, "epsilon": adamw.Epsilon,
		},
		Prior: specPrior{
			M: prior.M, D: prior.D, A: prior.A, Weights: prior.W,
			Rate:               loss.DefaultConfig(loss.PriorMutualInformation).Prior.Rate,
			TeacherTemperature: teacherTemperature, StudentTemperature: studentTemperature,
		},
	}
	if c.kind == memory {
		s.Kind = step
	}
	if c.decode {
		s.Views = &specViews{
			Files: filepath.Join(folder, encodedFolder), Teacher: teacherCrop.Scale, Student: studentCrop.Scale,
			Ratio: studentCrop.Ratio, Flip: flip,
		}
	}
	return s, nil
}

func networkSpec(c nn.Config) specNetwork {
	return specNetwork{c.Architecture, c.Width, c.Outputs, c.Size}
}
