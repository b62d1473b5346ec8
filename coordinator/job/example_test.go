package job_test

import (
	"fmt"

	"pupil/coordinator/job"
)

func Example() {
	file := `
name: faces
dataset: { train: faces/train }
teacher: { model: faces-teacher }
student: { architecture: mobilenet_v2, width: 0.5 }
epochs: 20
`
	spec, err := job.Decode([]byte(file), "faces.yaml", []string{"batch=512", "optimizer.name=sgd"})
	if err != nil {
		fmt.Println(err)
		return
	}
	steps, err := spec.TotalSteps(100_000)
	fmt.Println(steps, err)
	fmt.Println(spec.Loss[0].Name, spec.Optimizer.LearningRate)
	// Output:
	// 3900 <nil>
	// prior_mutual_information 0.1
}

func ExampleError() {
	file := `
name: faces
dataset: { trian: faces/train }
batch: 100
epochs: -1
`
	_, err := job.Decode([]byte(file), "faces.yaml", []string{"lr=0.1"})
	fmt.Println(err)
	// Output:
	// the job has 4 faults
	// faces.yaml:3:12: dataset.trian: unknown key; the nearest key is dataset.train
	// faces.yaml:4:8: batch: a batch of 100 cannot be shared equally by 8 lanes; give a batch of 96 or 104, or another number of lanes
	// faces.yaml:5:9: epochs: is -1; give a number from 0 to 1000000
	// --set: lr: unknown key; there is optimizer.learning_rate
}
