package job

import (
	"slices"
	"strings"

	"pupil/internal/random/elementary"
)

// Derived operations stay within these, as far as the teacher's do, and within the bounds of their keys.
const (
	leastCrop                 = 0.01
	leastRatio, greatestRatio = 0.01, 100
	greatestRotation          = 180
	greatestBrightness        = 100
)

// derive makes the student's operations that were not given from the teacher's, by views.strength. A strength of 1
// gives the teacher's own numbers. Each number is a function of the file alone, whatever the processor.
func (d *decoder) derive(v *Views) {
	t, s, strength := v.Teacher, &v.Student, v.Strength
	for _, x := range []struct {
		key string
		set func()
	}{
		{"crop.scale", func() { s.Crop.Scale = strongerCrop(t.Crop.Scale, strength) }},
		{"crop.ratio", func() { s.Crop.Ratio = strongerRatio(t.Crop.Ratio, strength) }},
		{"flip", func() { s.Flip = t.Flip }},
		{"rotate", func() { s.Rotate = min(greatestRotation, strength*t.Rotate) }},
		{"brightness", func() { s.Brightness = min(greatestBrightness, strength*t.Brightness) }},
		{"occlude.probability", func() { s.Occlude.Probability = min(1, strength*t.Occlude.Probability) }},
		{"occlude.scale", func() {
			x := t.Occlude.Scale
			s.Occlude.Scale = [2]float64{min(1, strength*x[0]), min(1, strength*x[1])}
		}},
		{"occlude.ratio", func() { s.Occlude.Ratio = t.Occlude.Ratio }},
		{"occlude.value", func() { s.Occlude.Value = t.Occlude.Value }},
		{"normalize", func() { s.Normalize = t.Normalize.clone() }},
	} {
		if _, ok := d.given["views.student."+x.key]; !ok {
			x.set()
		}
	}
}

// strongerCrop removes strength times as much of the image as the smallest part of scale does: the low end becomes
// 1 - strength (1 - low), but not less than leastCrop.
func strongerCrop(scale [2]float64, strength float64) [2]float64 {
	low := scale[0] - float64((1-scale[0])*(strength-1)) // exactly low for a strength of 1
	return [2]float64{min(scale[0], max(leastCrop, low)), scale[1]}
}

// strongerRatio is ratio^strength.
func strongerRatio(ratio [2]float64, strength float64) [2]float64 {
	if strength == 1 {
		return ratio // exactly
	}
	low, high := ratioPower(ratio[0], strength), ratioPower(ratio[1], strength)
	return [2]float64{min(low, high), high}
}

// ratioPower returns x^p for x > 0, within the bounds of a ratio. math.Pow has other last bits on other processors.
func ratioPower(x, p float64) float64 {
	return min(max(elementary.Exp(p*elementary.Log(x)), leastRatio), greatestRatio)
}

func (n *Normalize) clone() *Normalize {
	if n == nil {
		return nil
	}
	return &Normalize{Mean: slices.Clone(n.Mean), Std: slices.Clone(n.Std)}
}

// derives says whether views.strength has an effect.
func (s *Spec) derives() bool {
	return s.Teacher != nil && s.Views.Policy != PolicySame && s.Views.Strength >= 1
}

// weakerView names the operations that are milder for the student than for the teacher. Of a range the extreme end
// counts first. Views that are the same are not weaker, and of nested ones only the occlusion can be: the rest of the
// teacher's operations come with its view.
func (s *Spec) weakerView() []string {
	if s.Teacher == nil || s.Views.Policy == PolicySame {
		return nil
	}
	nested := s.Views.Policy == PolicyNested
	t, u := s.Views.Teacher, s.Views.Student
	var names []string
	for _, x := range []struct {
		name   string
		weaker bool
	}{
		{"crop.scale", slices.Compare(u.Crop.Scale[:], t.Crop.Scale[:]) > 0},
		{"crop.ratio", float64(u.Crop.Ratio[1]*t.Crop.Ratio[0]) < float64(t.Crop.Ratio[1]*u.Crop.Ratio[0])},
		{"rotate", u.Rotate < t.Rotate},
		{"brightness", u.Brightness < t.Brightness},
		{"occlude.probability", u.Occlude.Probability < t.Occlude.Probability},
		{"occlude.scale", min(t.Occlude.Probability, u.Occlude.Probability) > 0 &&
			slices.Compare(backwards(u.Occlude.Scale), backwards(t.Occlude.Scale)) < 0},
	} {
		if x.weaker && (!nested || strings.HasPrefix(x.name, "occlude.")) {
			names = append(names, x.name)
		}
	}
	return names
}

func backwards(x [2]float64) []float64 { return []float64{x[1], x[0]} }
