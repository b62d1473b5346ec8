package main

import (
	"fmt"
	"slices"
	"strings"
)

// source is a table: what the terms of its settings look at, or what else they have in common. Margins are taken to the
// best L2 and KL of the same table.
type source string

const (
	logits source = "Terms that look at the logits"
	pooled source = "Terms that look at the pooled features"
	both   source = "Terms that look at the pooled features and logits" // compared with the best of either
	labels source = "Terms that look at the labels"                     // compared with nothing

	// The leading settings under other conditions; in each table all have the same.
	stronger source = "Stronger views of the student"
	larger   source = "Batches of 512 images, at twice the learning rate"
	longer   source = "Three epochs"
)

// sources are all tables, in the order of the page.
var sources = []source{logits, pooled, both, labels, stronger, larger, longer}

// kind is the loss of a setting, as far as others are compared with it.
type kind string

const (
	mi     kind = "mi" // with prior mutual information, alone or beside others
	kl     kind = "kl"
	l2     kind = "l2"
	others kind = "other"
)

// setting is a row of the table: a name, and what it overrides in the base job.
type setting struct {
	name      string
	source    source
	kind      kind
	overrides []string // as for `coordinator run --set`
}

// teacherWidth is the width of the shipped teacher's pooled features.
const teacherWidth = 128

// settings are all rows. A name says the loss first, then what is not its default.
var settings = slices.Concat(
	plain, grouped(8, 16, 32),
	leading(stronger, "strong", "views.student.crop.scale=[0.4, 1]", "views.student.rotate=20",
		"views.student.brightness=0.5", "views.student.occlude.probability=0.5"),
	leading(larger, "b512", "batch=512", "optimizer.learning_rate=0.02"),
	leading(longer, "e3", "epochs=3"),
)

var plain = []setting{
	{"kl_t1", logits, kl, loss(`name: kl`)},
	{"kl_t2", logits, kl, loss(`name: kl, teacher_temperature: 2, student_temperature: 2, weight: 4`)},
	{"kl_t4", logits, kl, loss(softKL)},
	{"l2_logits", logits, l2, loss(`name: l2`)},
	{"l2_pooled", pooled, l2, loss(`name: l2, features: pooled`)},
	{"cosine_pooled", pooled, others, loss(`name: cosine, features: pooled`)},
	{"cross_entropy", labels, others, loss(`name: cross_entropy`)},

	// Product joint, conditional posterior, natural prior, falling KL start: the defaults.
	{"mi_logits", logits, mi, loss(prior)},
	{"mi_logits_symmetric", logits, mi, loss(prior + `, joint: symmetric`)},
	{"mi_logits_sample", logits, mi, loss(prior + `, posterior: sample`)},
	{"mi_logits_mixture", logits, mi, loss(prior + `, posterior: mixture`)},
	{"mi_logits_maximize", logits, mi, loss(prior + `, prior: {update: maximize}`)},
	{"mi_logits_none", logits, mi, loss(prior + `, prior: {update: none}`)},
	{"mi_logits_minimize", logits, mi, loss(prior + `, prior: {update: minimize}`)},
	{"mi_logits_cold", logits, mi, loss(prior + `, start: {kl: 0}`)},
	{"mi_logits_hold_0.1", logits, mi, loss(prior + `, start: {kl: 0.1, hold: true}`)},
	{"mi_logits_hold_1", logits, mi, loss(prior + `, start: {kl: 1, hold: true}`)},
	{"mi_logits_hold_3", logits, mi, loss(prior + `, start: {kl: 3, hold: true}`)},
	{"mi_logits_t2", logits, mi, loss(prior + `, teacher_temperature: 2, student_temperature: 2`)},
	{"mi_logits_t4", logits, mi, loss(prior + `, teacher_temperature: 4, student_temperature: 4`)},
	{"mi_logits_over_20", logits, mi, append(loss(prior+`, start: {kl: 0}`), "student.outputs=20")},
	{"kl_t1_mixture_0.1", logits, mi, loss(`name: kl`, prior+`, posterior: mixture, start: {kl: 0}, weight: 0.1`)},
	{"kl_t1_mixture_0.3", logits, mi, loss(`name: kl`, prior+`, posterior: mixture, start: {kl: 0}, weight: 0.3`)},
	{"kl_t4_mi_1", logits, mi, loss(softKL, prior+`, start: {kl: 0}`)},
	{"kl_t4_mi_0.1", logits, mi, loss(softKL, prior+`, start: {kl: 0}, weight: 0.1`)},
	{"kl_t4_mi_t4_16", logits, mi, loss(softKL, prior+soft+`, start: {kl: 0}, weight: 16`)},
	{"l2_logits_mi_0.1", logits, mi, loss(`name: l2`, prior+`, start: {kl: 0}, weight: 0.1`)},
	{"l2_pooled_mi_g8_0.1", pooled, mi, loss(`name: l2, features: pooled`, sure+groups(8)+`, start: {kl: 0}, weight: 0.1`)},

	{"kl_g8_mi_0.1", pooled, mi, loss(`name: kl`+groups(8), sure+groups(8)+`, start: {kl: 0}, weight: 0.1`)},
	{"kl_g8_mixture_0.1", pooled, mi, loss(
		`name: kl`+groups(8), mutual+groups(8)+`, posterior: mixture, start: {kl: 0}, weight: 0.1`,
	)},
	{"mi_g8_kl1", pooled, mi, loss(sure + groups(8) + `, start: {kl: 1, hold: true}`)},
	{"mi_g8_kl3_mixture", pooled, mi, loss(mutual + groups(8) + `, posterior: mixture, start: {kl: 3, hold: true}`)},
	{"mi_g8_kl3_permuted", pooled, mi, loss(sure + groups(8) + `, feature_order: permuted, start: {kl: 3, hold: true}`)},
	{"kl_g8_kl_logits", both, kl, loss(`name: kl`+groups(8), `name: kl`)},
	{"mi_g8_kl_logits", both, mi, loss(sure+groups(8)+`, start: {kl: 0}`, `name: kl`)},
	{"mi_g8_kl3_kl_logits", both, mi, loss(sure+groups(8)+`, start: {kl: 3, hold: true}`, `name: kl`)},
}

// leading are the settings that lead under the base job's conditions, and the best KL and L2, under others.
func leading(of source, suffix string, conditions ...string) []setting {
	var all []setting
	for _, s := range slices.Concat(plain, grouped(8)) {
		switch s.name {
		case "l2_pooled", "kl_g8", "mi_g8_kl3_mixture", "l2_pooled_mi_g8_0.1":
			all = append(all, setting{s.name + "_" + suffix, of, s.kind, slices.Concat(s.overrides, conditions)})
		}
	}
	return all
}

// grouped are the default and KL on pooled features in groups of some channels.
func grouped(widths ...int) []setting {
	var all []setting
	for _, width := range widths {
		g := groups(width)
		all = append(
			all,
			setting{fmt.Sprintf("kl_g%d", width), pooled, kl, loss(`name: kl` + g)},
			setting{fmt.Sprintf("mi_g%d_kl3", width), pooled, mi, loss(sure + g + `, start: {kl: 3, hold: true}`)},
		)
	}
	return all
}

const (
	mutual = `name: prior_mutual_information`
	sure   = mutual + `, posterior: conditional` // of pooled features mixture is the default
	prior  = mutual + `, features: logits`
	soft   = `, teacher_temperature: 4, student_temperature: 4`
	softKL = `name: kl` + soft + `, weight: 16` // T^2, as Hinton scales it
)

// groups are the keys of a term that looks at pooled features in groups of width channels.
func groups(width int) string {
	return fmt.Sprintf(`, features: pooled, feature_groups: %d`, teacherWidth/width)
}

// loss is the override that gives a job these terms, each as the inside of a YAML mapping.
func loss(terms ...string) []string { return []string{"loss=[{" + strings.Join(terms, "}, {") + "}]"} }
