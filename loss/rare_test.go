package loss_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pupil/internal/random/elementary"
	"pupil/loss"
)

// ageCourse is 300 steps of 256 samples, about 13 of each rare class.
func ageCourse(terms ...loss.Config) course { return course{terms: terms, steps: 300, hidden: 32} }

// strengthened is a term whose rare classes have an offset in prior.mean.
func strengthened(c loss.Config, offset float64) loss.Config {
	if offset != 0 {
		c.Prior.Mean = []float64{offset, 0, offset}
	}
	return c
}

// rare is the mean recall of the rare classes, balanced that of all.
func (o outcome) rare() float64     { return (o.recall[0] + o.recall[2]) / 2 }
func (o outcome) balanced() float64 { return (o.recall[0] + o.recall[1] + o.recall[2]) / 3 }

// adjusted is a course with a share of the classes' log prior added to the logits while the student learns, and not
// when it is used: the logit adjustment of Menon et al., "Long-tail learning via logit adjustment" (ICLR 2021).
func adjusted(c loss.Config, share float64) course {
	out := ageCourse(c)
	for _, p := range ages(0).shares {
		out.shift = append(out.shift, share*elementary.Log(p))
	}
	return out
}

// ageTable are the further courses of docs/method.md.
func ageTable() map[string]course {
	courses := map[string]course{}
	for _, s := range starts {
		for _, joint := range []string{loss.JointProduct, loss.JointSymmetric} {
			for _, posterior := range []string{loss.PosteriorConditional, loss.PosteriorSample, loss.PosteriorMixture} {
				for _, offset := range []float64{0.5, 0, -0.05, -0.1, -0.2, -0.5, -1, -2} {
					c := strengthened(combination(joint, posterior, loss.UpdateNatural, s.start), offset)
					courses[fmt.Sprintf("%s/%s/natural/%s/%g", joint, posterior, s.name, offset)] = ageCourse(c)
				}
			}
		}
		for _, update := range []string{loss.UpdateNone, loss.UpdateMaximize, loss.UpdateMinimize} {
			for _, offset := range []float64{0, -1, -2.89} {
				c := strengthened(combination(loss.JointProduct, loss.PosteriorConditional, update, s.start), offset)
				courses[fmt.Sprintf("product/conditional/%s/%s/%g", update, s.name, offset)] = ageCourse(c)
			}
		}
		c := combination(loss.JointProduct, loss.PosteriorConditional, loss.UpdateNatural, s.start)
		courses["logits adjusted/"+s.name] = adjusted(c, 1)
		courses["logits half adjusted/"+s.name] = adjusted(c, 0.5)
	}
	courses["logits adjusted/kl"] = adjusted(loss.DefaultConfig(loss.KL), 1)
	courses["logits half adjusted/kl"] = adjusted(loss.DefaultConfig(loss.KL), 0.5)
	return courses
}

// TestRareClasses: a child, an adult and an old person in 5, 90 and 5 of 100 samples. A lower prior.mean strengthens
// the rare classes, a higher one weakens them; for each of three seeds.
func TestRareClasses(t *testing.T) {
	lessons := lessons(ages)
	product, conditional := loss.JointProduct, loss.PosteriorConditional
	held := combination(product, conditional, loss.UpdateNatural, loss.Start{KL: 1, Hold: true})
	falling := loss.DefaultConfig(loss.PriorMutualInformation)
	maximize := combination(product, conditional, loss.UpdateMaximize, held.Start)
	courses := map[string]course{
		"kl":              ageCourse(loss.DefaultConfig(loss.KL)),
		"held":            ageCourse(held),
		"held -1":         ageCourse(strengthened(held, -1)),
		"held 0.5":        ageCourse(strengthened(held, 0.5)),
		"falling":         ageCourse(falling),
		"falling -0.05":   ageCourse(strengthened(falling, -0.05)),
		"falling -0.2":    ageCourse(strengthened(falling, -0.2)),
		"maximize":        ageCourse(maximize),
		"maximize -1":     ageCourse(strengthened(maximize, -1)),
		"falling none":    ageCourse(combination(product, conditional, loss.UpdateNone, falling.Start)),
		"falling sample":  ageCourse(combination(product, loss.PosteriorSample, loss.UpdateNatural, falling.Start)),
		"logits adjusted": adjusted(falling, 0.5),
	}
	if *table {
		maps.Copy(courses, ageTable())
	}
	outcomes := map[string][]outcome{}
	for _, name := range slices.Sorted(maps.Keys(courses)) {
		t.Log(name)
		outcomes[name] = teach(t, lessons, courses[name])
	}
	for i, l := range lessons {
		get := func(name string) outcome { return outcomes[name][i] }
		gain := func(name, than string) float64 { return get(name).rare() - get(than).rare() }
		forgotten := gain("maximize -1", "maximize")
		for what, holds := range map[string]bool{
			"mutual information itself does":                         gain("held", "kl") > 0.04 && gain("falling", "held") > 0.04,
			"a lower prior.mean strengthens them":                    gain("held -1", "held") > 0.08,
			"the frequent class pays little for it":                  get("held -1").recall[1] > 0.85,
			"the mean recall of the classes rises":                   get("held -1").balanced() > get("held").balanced()+0.04,
			"a higher prior.mean weakens them":                       gain("held 0.5", "held") < -0.02,
			"a falling start wants a small offset":                   gain("falling -0.05", "falling") > 0.02,
			"and empties the frequent class with a larger one":       get("falling -0.2").recall[1] < 0.1,
			"maximize forgets prior.mean":                            max(forgotten, -forgotten) < 0.03,
			"a prior that does not follow loses them":                get("falling none").rare() < 0.1,
			"the sample posterior loses them without a KL beside it": get("falling sample").rare() < 0.2,
			"adjusted logits strengthen them with a falling start":   gain("logits adjusted", "falling") > 0.02,
		} {
			if !holds {
				t.Errorf("seed %d: it does not hold that %s", l.seed, what)
			}
		}
	}
}

// TestMeanIsALinearReward: to the student, prior.mean is a term sum_j mean_j p_j beside minus the mutual information,
// with p its marginal; so an offset must be small against the mutual information, or outweighs it.
func TestMeanIsALinearReward(t *testing.T) {
	const samples, classes = 50, 4
	mean := []float64{-0.7, 0, 0.4, -0.1}
	b := randomBatch(11, samples, classes)
	for _, joint := range []string{loss.JointProduct, loss.JointSymmetric} {
		c := mutualOf(loss.UpdateNatural, 1)
		c.Joint = joint
		gradient := func(mean []float64) []float64 {
			c.Prior.Mean = mean
			l := must(single([]loss.Config{c}, classes, samples))
			return slices.Clone(must(l.Lane(0, samples).Evaluate(b, must(l.NewState()), 0, alone)).Gradients[0])
		}
		with, without := gradient(mean), gradient(nil)
		factor := 1.0 / samples
		if joint == loss.JointSymmetric { // half of its marginal is the teacher's
			factor /= 2
		}
		got, want := make([]float64, samples*classes), make([]float64, samples*classes)
		for n := range samples {
			s := softmax(b.Heads[0].Student[n*classes:][:classes])
			for j, p := range s {
				got[n*classes+j] = with[n*classes+j] - without[n*classes+j]
				want[n*classes+j] = factor * p * (mean[j] - dot(s, mean))
			}
		}
		within(t, joint+": gradient", got, want, 0, 1e-12)
	}
}

func softmax(x []float64) []float64 {
	out, sum := make([]float64, len(x)), 0.0
	for j, v := range x {
		out[j] = elementary.Exp(v)
		sum += out[j]
	}
	return scaled(out, 1/sum)
}
