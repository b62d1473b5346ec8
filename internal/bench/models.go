package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"pupil/internal/random"
	"pupil/loss"
	"pupil/storage/safetensors"
	"pupil/worker/nn"
)

// seed is that of weights, images and prior.
const seed = 1

// Temperatures that give random networks distributions with some contrast, so that the loss is not nearly 0 and a
// fault of one side shows in it.
const (
	teacherTemperature = 0.05
	studentTemperature = 0.01
)

// models are a pair's networks with their first weights, and its images. Files of a folder hold the same for PyTorch.
type models struct {
	pair                        pair
	folder                      string
	teacher, student            *nn.Network
	teacherState, studentState  *nn.State
	teacherImages, studentInput []float32 // [batch, size, size, 3]
	loss                        *loss.Loss
}

// newModels draws a pair's weights and images, and writes them into a new folder.
func newModels(p pair, folder string) (*models, error) {
	m, err := emptyModels(p, folder)
	if err != nil {
		return nil, err
	}
	m.teacher.Init(m.teacherState, seed)
	m.student.Init(m.studentState, seed+1)
	pixels := random.New(random.PurposeTest, seed)
	for i := range m.teacherImages {
		m.teacherImages[i] = float32(pixels.Normal())
		m.studentInput[i] = m.teacherImages[i] + 0.3*float32(pixels.Normal())
	}
	if err := m.calibrate(); err != nil {
		return nil, err
	}
	return m, m.write()
}

// emptyModels makes networks and loss; weights and images are not set.
func emptyModels(p pair, folder string) (*models, error) {
	m := &models{pair: p, folder: folder}
	var err error
	if m.teacher, err = nn.New(p.teacher); err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	if m.student, err = nn.New(p.student); err != nil {
		return nil, fmt.Errorf("student: %w", err)
	}
	m.teacherState, m.studentState = m.teacher.NewState(), m.student.NewState()
	values := p.batch * p.student.Size * p.student.Size * p.student.Channels
	m.teacherImages, m.studentInput = make([]float32, values), make([]float32, values)
	term := loss.DefaultConfig(loss.PriorMutualInformation)
	term.Start.KL = 0
	term.TeacherTemperature, term.StudentTemperature = teacherTemperature, studentTemperature
	heads := []loss.Head{{Teacher: p.teacher.Outputs, Student: p.student.Outputs}}
	m.loss, err = loss.New([]loss.Config{term}, heads, p.batch, seed)
	return m, err
}

// calibrate sets running statistics to those of a few images, as a trained network's fit its images: with means of 0
// and variances of 1 the activations of random weights grow or fade with every block, as far as denormal numbers.
func (m *models) calibrate() error {
	images := min(4, m.pair.batch)
	for _, name := range []string{teacher, student} {
		n, s, input := m.network(name)
		t, err := n.NewTraining(s, nn.TrainingConfig{
			Batch: images, Outputs: []nn.Output{nn.Logits},
			Loss:      func(_, gradients [][]float32) (float64, error) { clear(gradients[0]); return 0, nil },
			Gradients: make([]float32, len(s.Params)), Statistics: s.Buffers,
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		err = t.Run(input[:images*len(input)/m.pair.batch])
		t.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// network returns one of the two, with its weights and images.
func (m *models) network(name string) (n *nn.Network, s *nn.State, images []float32) {
	if name == teacher {
		return m.teacher, m.teacherState, m.teacherImages
	}
	return m.student, m.studentState, m.studentInput
}

func (m *models) file(name, kind string) string { return filepath.Join(m.folder, name+"."+kind) }

// write keeps weights as safetensors, and images as plain float32 in the order [batch, size, size, 3].
func (m *models) write() error {
	if err := os.MkdirAll(m.folder, 0o755); err != nil {
		return err
	}
	for _, name := range []string{teacher, student} {
		n, s, images := m.network(name)
		weights, err := n.Export(s).Encode()
		if err != nil {
			return fmt.Errorf("encode the %s: %w", name, err)
		}
		if err := os.WriteFile(m.file(name, "safetensors"), weights, 0o600); err != nil {
			return err
		}
		raw := make([]byte, 0, 4*len(images))
		for _, v := range images {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		if err := os.WriteFile(m.file(name, "images"), raw, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// readModels reads what write wrote.
func readModels(p pair, folder string) (*models, error) {
	m, err := emptyModels(p, folder)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{teacher, student} {
		n, s, images := m.network(name)
		data, err := os.ReadFile(m.file(name, "safetensors"))
		if err != nil {
			return nil, err
		}
		f, err := safetensors.Decode(data)
		if err != nil {
			return nil, fmt.Errorf("the %s: %w", name, err)
		}
		if err := n.Import(s, f); err != nil {
			return nil, fmt.Errorf("the %s: %w", name, err)
		}
		raw, err := os.ReadFile(m.file(name, "images"))
		if err != nil {
			return nil, err
		}
		if len(raw) != 4*len(images) {
			return nil, fmt.Errorf("%s has %d bytes; the images take %d", m.file(name, "images"), len(raw), 4*len(images))
		}
		for i := range images {
			images[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	}
	return m, nil
}
