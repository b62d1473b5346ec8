package augment

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Policy says how a student's view depends on its teacher's.
type Policy string

const (
	// PolicyIndependent draws both views on their own.
	PolicyIndependent Policy = "independent"

	// PolicyNested cuts the student's view from the teacher's. Its crop is drawn inside the teacher's as if that,
	// stretched to a square, were the image: Crop.Scale is the share of the teacher's crop and Crop.Ratio is relative to
	// the teacher's ratio, so that a student without a crop sees the teacher's. It is flipped when one of the two flips
	// and not when both do, its angle is the sum of both angles, its brightness factor the product of both; values are
	// cut to [0, 1] once, after the product, and both turn about the centre of their own view. Its occlusion is its own,
	// and the teacher's does not appear in it.
	PolicyNested Policy = "nested"

	// PolicySame shows the student the teacher's view: the same crop, flip, angle, factor and occlusion, at the student's
	// size and with its normalisation. What the teacher's view hides has the same colour before normalisation, and at
	// another size its rectangle is scaled. The student's own operations are not used.
	PolicySame Policy = "same"
)

// Policies returns every policy.
func Policies() []Policy { return []Policy{PolicyIndependent, PolicyNested, PolicySame} }

// Views makes a teacher's and a student's view of the same image. It is immutable and safe for concurrent use.
type Views struct {
	teacher, student *Pipeline // teacher may be nil
	policy           Policy
	copied           bool       // the student's view is the teacher's, bit for bit
	value            [3]float32 // the teacher's occlusion as the student sees it with PolicySame
}

// NewViews returns the views of two pipelines. Without a teacher, nil, there is only the student's view, and the policy
// must be PolicyIndependent; "" stands for it.
func NewViews(teacher, student *Pipeline, p Policy) (*Views, error) {
	if student == nil {
		return nil, errors.New("views: there is no student's view")
	}
	v := &Views{teacher: teacher, student: student, policy: p}
	switch p {
	case "":
		v.policy = PolicyIndependent
	case PolicyIndependent, PolicyNested, PolicySame:
	default:
		return nil, fmt.Errorf("views: unknown policy %q; it must be one of %s", p, policyWords())
	}
	if teacher == nil {
		if v.policy != PolicyIndependent {
			return nil, fmt.Errorf("views: policy %q needs a teacher's view; without a teacher take %q", p, PolicyIndependent)
		}
		return v, nil
	}
	t, s := &teacher.config, &student.config
	v.copied = v.policy == PolicySame && t.Size == s.Size && t.Channels == s.Channels &&
		teacher.finish.sameNormalisation(student.finish)
	v.value = translate(teacher, student)
	return v, nil
}

func policyWords() string {
	var words []string
	for _, p := range Policies() {
		words = append(words, string(p))
	}
	return strings.Join(words, ", ")
}

// translate returns the colour of the teacher's occlusion in the student's normalisation and channels.
func translate(teacher, student *Pipeline) [3]float32 {
	t, s := &teacher.config, &student.config
	var raw [3]float64 // in [0, 1] for colours that an image can have
	for c := range raw {
		raw[c] = t.Occlude.Value
		if len(t.Mean) > 0 {
			k := c % t.Channels
			raw[c] = float64(raw[c]*t.Std[k]) + t.Mean[k]
		}
	}
	if t.Channels == 3 && s.Channels == 1 {
		raw[0] = float64(0.299*raw[0]) + float64(0.587*raw[1]) + float64(0.114*raw[2])
	}
	var value [3]float32
	for c := range s.Channels {
		if len(s.Mean) > 0 {
			raw[c] = (raw[c] - s.Mean[c]) / s.Std[c]
		}
		value[c] = float32(min(max(raw[c], -math.MaxFloat32), math.MaxFloat32))
	}
	return value
}

// Teacher returns the teacher's pipeline; nil: there is none.
func (v *Views) Teacher() *Pipeline { return v.teacher }

// Student returns the student's pipeline.
func (v *Views) Student() *Pipeline { return v.student }

// Policy returns the policy.
func (v *Views) Policy() Policy { return v.policy }

// Background is the colour to decode images over (DecodeOver): that of the student's pipeline.
func (v *Views) Background() [3]uint8 { return v.student.Background() }

// Apply writes both views of img that belong to the key, whose View does not count, to teacher and student, in the
// layout [Size, Size, Channels]. Without a teacher's pipeline the slice teacher is not used. With PolicyIndependent
// these are the bits of the pipelines' Apply with TeacherView and StudentView. It panics as Pipeline.Apply does.
func (v *Views) Apply(teacher, student []float32, img *Image, key Key) {
	img.check()
	t := v.drawTeacher(img, key)
	if v.teacher != nil {
		v.teacher.render(teacher, img, t)
	}
	if v.copied {
		v.student.checkLength(student)
		copy(student, teacher)
		return
	}
	v.applyStudent(student, img, key, t)
}

// ApplyStudent writes the student's view alone: the bits that Apply gives it.
func (v *Views) ApplyStudent(student []float32, img *Image, key Key) {
	img.check()
	t := v.drawTeacher(img, key)
	if v.copied {
		v.teacher.render(student, img, t)
		return
	}
	v.applyStudent(student, img, key, t)
}

// drawTeacher draws the teacher's view, if there is one.
func (v *Views) drawTeacher(img *Image, key Key) (t draws) {
	if v.teacher != nil {
		key.View = TeacherView
		t = v.teacher.config.draw(img, key)
	}
	return t
}

// applyStudent writes the student's view beside the teacher's t.
func (v *Views) applyStudent(student []float32, img *Image, key Key, t draws) {
	key.View = StudentView
	c := &v.student.config
	switch v.policy {
	case PolicyNested:
		v.student.render(student, img, c.drawIn(c.Crop.drawIn(t.crop, key), key).after(t))
	case PolicySame:
		t.hidden = t.hidden.scaled(v.teacher.config.Size, c.Size)
		t.value = v.value
		v.student.render(student, img, t)
	default:
		v.student.render(student, img, c.draw(img, key))
	}
}

// after returns d with the flip, rotation and brightness of t before it.
func (d draws) after(t draws) draws {
	d.flip = d.flip != t.flip
	d.degrees += t.degrees
	d.factor *= t.factor
	return d
}

// scaled returns a rectangle of a square of one size in a square of another, its borders rounded.
func (r rectangle) scaled(from, to int) rectangle {
	at := func(v int) int { return (2*v*to + from) / (2 * from) }
	x, y := at(r.x), at(r.y)
	return rectangle{x, y, at(r.x+r.width) - x, at(r.y+r.height) - y}
}

// Background is the mean colour of the normalisation, 8 bits RGB, and mid-grey without one: the colour to decode
// images over (DecodeOver), so that what is transparent is 0 to the network. Grey is repeated.
func (p *Pipeline) Background() [3]uint8 {
	colour := [3]uint8(midGrey)
	for c := range colour {
		if len(p.config.Mean) > 0 {
			colour[c] = uint8(roundToInt(255 * min(max(p.config.Mean[c%p.config.Channels], 0), 1)))
		}
	}
	return colour
}
