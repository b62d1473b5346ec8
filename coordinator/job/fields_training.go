package job

import "slices"

func lossFields() []Field {
	mutual := &Condition{"loss.*.name", []string{TermPriorMutualInformation}}
	taught := []string{TermPriorMutualInformation, TermKL, TermL2, TermCosine}
	soft := &Condition{"loss.*.name", taught[:2]}
	pooled := Condition{"loss.*.features", []string{FeaturesPooled}}
	return append([]Field{
		{
			Path: "loss", Type: TypeList, Default: "[{}]",
			Meaning: "Terms that are summed by weight. The default is one term with its own defaults.",
		},
		{Path: "loss.*", Type: TypeSection, Meaning: "One term."},
		{
			Path: "loss.*.name", Type: TypeChoice, Default: TermPriorMutualInformation,
			Values: append(slices.Clone(taught), TermCrossEntropy),
			Else:   []Alternative{{Condition{"teacher", []string{"absent"}}, TermCrossEntropy}},
			Meaning: "prior_mutual_information between teacher and student (at most one such term), kl from the " +
				"teacher's soft labels, l2 (mean squared difference) or cosine (one minus the cosine) of the features, or " +
				"cross_entropy with the dataset's labels. All but the last need a teacher.",
		},
		{
			Path: "loss.*.features", Type: TypeChoice, Values: []string{FeaturesLogits, FeaturesPooled},
			Default: FeaturesLogits, Else: []Alternative{{*mutual, FeaturesPooled}},
			Meaning: "What the term looks at: the logits, or pooled, the mean of the last feature map, of the student after " +
				"its projection layer. cross_entropy looks at logits only.",
		},
		{
			Path: "loss.*.weight", Type: TypeNumber, Default: "1", Bounds: atLeast(0),
			Meaning: "Factor of the term in the sum.",
		},
		{
			Path: "loss.*.ramp", Type: TypeSection,
			Meaning: "A factor on the weight that changes during the job.",
		},
		{
			Path: "loss.*.ramp.from", Type: TypeNumber, Default: "1", Bounds: atLeast(0),
			Meaning: "The factor until begin. From there it goes linearly.",
		},
		{
			Path: "loss.*.ramp.to", Type: TypeNumber, Default: "1", Bounds: atLeast(0),
			Meaning: "The factor from end on.",
		},
		{
			Path: "loss.*.ramp.begin", Type: TypeNumber, Unit: "share of all steps", Default: "0", Bounds: closed(0, 1),
			Meaning: "Where the factor starts to change.",
		},
		{
			Path: "loss.*.ramp.end", Type: TypeNumber, Unit: "share of all steps", Default: "1", Bounds: closed(0, 1),
			Meaning: "Where it has changed; after begin.",
		},
		{
			Path: "loss.*.feature_groups", Type: TypeInteger, Unit: "groups", Default: "0", Bounds: closed(0, 1<<20), Only: soft,
			Meaning: "Channels are cut into so many groups of equal width, with a softmax, a joint and a prior each; the " +
				"term is the mean over the groups. 0 leaves logits in one group and cuts pooled features into groups of 8 " +
				"channels (or of the next number that divides their width). A batch of N images measures joints of about N / 10 channels.",
		},
		{
			Path: "loss.*.feature_order", Type: TypeChoice, Values: []string{OrderContiguous, OrderPermuted},
			Default: OrderContiguous, Only: soft,
			Meaning: "Of the channels before they are cut into groups: as they come, or in an order drawn from the seed.",
		},
		{
			Path: "loss.*.standardize", Type: TypeBoolean, Default: "false", Only: &Condition{"loss.*.name", taught},
			Else: []Alternative{{pooled, "true"}},
			Meaning: "The teacher's features are brought to mean 0 and deviation 1 by channel (running statistics over all " +
				"lanes) before the term looks at them.",
		},
		{
			Path: "loss.*.teacher_temperature", Type: TypeNumber, Default: "1", Bounds: above(0), Only: soft,
			Meaning: "T in softmax(features / T) of the teacher.",
		},
		{
			Path: "loss.*.student_temperature", Type: TypeNumber, Default: "1", Bounds: above(0),
			Only:    &Condition{"loss.*.name", append(slices.Clone(soft.Values), TermCrossEntropy)},
			Meaning: "T in softmax(features / T) of the student.",
		},
		{
			Path: "loss.*.label_smoothing", Type: TypeNumber, Unit: "share", Default: "0", Bounds: toBefore(0, 1),
			Only:    &Condition{"loss.*.name", []string{TermCrossEntropy}},
			Meaning: "Share of the target that is spread over all classes.",
		},
		{
			Path: "loss.*.joint", Type: TypeChoice, Values: []string{JointProduct, JointSymmetric}, Default: JointProduct,
			Only: mutual,
			Meaning: "Joint distribution of teacher and student: product as counted, symmetric averaged with its " +
				"transpose (for networks that share their classes' order).",
		},
		{
			Path: "loss.*.posterior", Type: TypeChoice, Default: PosteriorConditional, Only: mutual,
			Values:  []string{PosteriorConditional, PosteriorSample, PosteriorMixture},
			Else:    []Alternative{{pooled, PosteriorMixture}},
			Meaning: "How p(student | teacher) is estimated: from the joint, from the samples, or as a mixture.",
		},
	}, priorFields(mutual, pooled)...)
}

func priorFields(mutual *Condition, pooled Condition) []Field {
	return []Field{
		{
			Path: "loss.*.prior", Type: TypeSection, Only: mutual,
			Meaning: "The student's learnable prior over classes, softmax of the sum over groups of w (m + d a).",
		},
		{
			Path: "loss.*.prior.distribution", Type: TypeChoice, Values: []string{PriorGaussian, PriorLaplace},
			Default: PriorGaussian,
			Meaning: "Of a, which is drawn once from the seed, with scale 1.",
		},
		{
			Path: "loss.*.prior.groups", Type: TypeInteger, Default: "1", Bounds: closed(1, 1024),
			Meaning: "Number of (m, d, a).",
		},
		{
			Path: "loss.*.prior.weights", Type: TypeNumbers, Default: "[]", Bounds: closed(-1e6, 1e6),
			Meaning: "w, a value for each group; empty is 1 for each.",
		},
		{
			Path: "loss.*.prior.mean", Type: TypeNumbers, Default: "[]", Bounds: anyNumber(),
			Meaning: "Initial m, a value for each class (with pooled features, for each channel); empty is 0 for each. A class with a small prior is worth more " +
				"to the student: give rare classes a lower value to strengthen them.",
		},
		{
			Path: "loss.*.prior.deviation", Type: TypeNumber, Default: "0.1", Bounds: anyNumber(),
			Meaning: "Initial d.",
		},
		{
			Path: "loss.*.prior.update", Type: TypeChoice, Default: UpdateNatural,
			Values: []string{UpdateNatural, UpdateMaximize, UpdateMinimize, UpdateNone},
			Meaning: "How m and d move: natural follows the student's marginal before each step, maximize ascends the " +
				"loss and none keeps them (a prior that lags or stays lets classes merge), minimize descends it (the literal " +
				"method, which collapses the student).",
		},
		{
			Path: "loss.*.prior.rate", Type: TypeNumber, Default: "1", Bounds: above(0),
			Else:    []Alternative{{Condition{"loss.*.prior.update", []string{UpdateMaximize, UpdateMinimize}}, "0.1"}},
			Only:    &Condition{"loss.*.prior.update", []string{UpdateNatural, UpdateMaximize, UpdateMinimize}},
			Meaning: "natural: share of the way to the marginal, below 2; maximize and minimize: learning rate.",
		},
		{
			Path: "loss.*.prior.bound", Type: TypeNumber, Unit: "nats", Default: "4", Bounds: above(0),
			Only:    &Condition{"loss.*.prior.update", []string{UpdateMinimize}},
			Meaning: "minimize: the prior's logits are kept between minus and plus this.",
		},
		{
			Path: "loss.*.start", Type: TypeSection, Only: mutual,
			Meaning: "A term KL(teacher || student) that keeps the classes apart while the mutual information is small.",
		},
		{
			Path: "loss.*.start.kl", Type: TypeNumber, Default: "1", Else: []Alternative{{pooled, "3"}}, Bounds: atLeast(0),
			Meaning: "Its weight at the first step, times the term's own; 0 starts without it.",
		},
		{
			Path: "loss.*.start.share", Type: TypeNumber, Unit: "share of all steps", Default: "0.3", Bounds: afterTo(0, 1),
			Only:    &Condition{"loss.*.start.hold", []string{"false"}},
			Meaning: "The part of the job over which its weight falls linearly to 0.",
		},
		{
			Path: "loss.*.start.hold", Type: TypeBoolean, Default: "false", Else: []Alternative{{pooled, "true"}},
			Meaning: "true keeps the weight for the whole job.",
		},
	}
}

func optimizerFields() []Field {
	sgd := Condition{"optimizer.name", []string{OptimizerSGD}}
	lars := Condition{"optimizer.name", []string{OptimizerLARS}}
	momentum := Condition{"optimizer.name", []string{OptimizerSGD, OptimizerLARS}}
	adamw := Condition{"optimizer.name", []string{OptimizerAdamW}}
	return []Field{
		{Path: "optimizer", Type: TypeSection, Meaning: "Updates the weights."},
		{
			Path: "optimizer.name", Type: TypeChoice, Values: []string{OptimizerAdamW, OptimizerLARS, OptimizerSGD},
			Default: OptimizerAdamW,
			Meaning: "AdamW, stochastic gradient descent with momentum, or LARS for large batches (You et al. 2017).",
		},
		{
			Path: "optimizer.learning_rate", Type: TypeNumber, Default: "0.001", Else: []Alternative{{sgd, "0.1"}, {lars, "1"}},
			Bounds:  above(0),
			Meaning: "The highest learning rate, which the schedule scales.",
		},
		{
			Path: "optimizer.weight_decay", Type: TypeNumber, Default: "0.01", Else: []Alternative{{momentum, "0.0005"}},
			Bounds: atLeast(0),
			Meaning: "Decay of the weights, but not of biases and norms: decoupled in AdamW, added to the gradient in SGD and " +
				"LARS.",
		},
		{
			Path: "optimizer.clip_norm", Type: TypeNumber, Default: "0", Bounds: atLeast(0),
			Meaning: "The gradient of all weights together is scaled down to this norm if it is longer; 0: never.",
		},
		{
			Path: "optimizer.momentum", Type: TypeNumber, Default: "0.9", Bounds: toBefore(0, 1), Only: &momentum,
			Meaning: "Share of the last update that is kept.",
		},
		{
			Path: "optimizer.nesterov", Type: TypeBoolean, Default: "false", Only: &momentum,
			Meaning: "Look ahead by the momentum; needs one above 0.",
		},
		{
			Path: "optimizer.trust_coefficient", Type: TypeNumber, Default: "0.001", Bounds: above(0), Only: &lars,
			Meaning: "Of a tensor's own rate: trust_coefficient |weights| / (|gradient| + weight_decay |weights|).",
		},
		{
			Path: "optimizer.betas", Type: TypePair, Default: "[0.9, 0.999]", Bounds: toBefore(0, 1), Only: &adamw,
			Meaning: "Decay of the running means of the gradient and of its square.",
		},
		{
			Path: "optimizer.epsilon", Type: TypeNumber, Default: "1e-8", Bounds: above(0), Only: &adamw,
			Meaning: "Added to the root of the mean square.",
		},
	}
}

func scheduleFields() []Field {
	cosine := Condition{"schedule.name", []string{ScheduleCosine}}
	steps := Condition{"schedule.name", []string{ScheduleStep}}
	cycle := Condition{"schedule.name", []string{ScheduleOneCycle}}
	return []Field{
		{Path: "schedule", Type: TypeSection, Meaning: "The learning rate over the job."},
		{
			Path: "schedule.name", Type: TypeChoice, Default: ScheduleCosine,
			Values: []string{ScheduleConstant, ScheduleCosine, ScheduleOneCycle, ScheduleStep},
			Meaning: "What follows the warm-up: the peak itself; a cosine from the peak down to final; one cycle up to the peak " +
				"and far down (Smith and Topin 2018); or a factor at each milestone.",
		},
		{
			Path: "schedule.warmup", Type: TypeNumber, Unit: "share of all steps", Default: "0.05",
			Else: []Alternative{{cycle, "0"}}, Bounds: closed(0, 1),
			Meaning: "The part of the job in which the rate rises linearly from 0.",
		},
		{
			Path: "schedule.final", Type: TypeNumber, Unit: "share of the peak", Default: "0.01", Bounds: closed(0, 1),
			Only:    &cosine,
			Meaning: "The rate at the end.",
		},
		{
			Path: "schedule.milestones", Type: TypeNumbers, Unit: "shares of all steps", Default: "[0.5, 0.75]",
			Bounds: toBefore(0, 1), Only: &steps,
			Meaning: "Where the rate is multiplied by gamma; rising, after the warm-up.",
		},
		{
			Path: "schedule.gamma", Type: TypeNumber, Default: "0.1", Bounds: afterTo(0, 1), Only: &steps,
			Meaning: "Factor on the rate at each milestone.",
		},
		{
			Path: "schedule.pct_start", Type: TypeNumber, Unit: "share of the cycle", Default: "0.3", Bounds: closed(0, 1),
			Only:    &cycle,
			Meaning: "The part of the cycle in which the rate rises.",
		},
		{
			Path: "schedule.div_factor", Type: TypeNumber, Default: "25", Bounds: atLeast(1), Only: &cycle,
			Meaning: "The cycle begins at the peak divided by this.",
		},
		{
			Path: "schedule.final_div_factor", Type: TypeNumber, Default: "10000", Bounds: atLeast(1), Only: &cycle,
			Meaning: "It ends at where it began divided by this.",
		},
		{
			Path: "average", Type: TypeSection,
			Meaning: "Exponential moving average of weights and running statistics. With it the finished student is the average.",
		},
		{
			Path: "average.decay", Type: TypeNumber, Default: "0", Bounds: toBefore(0, 1),
			Meaning: "What the average keeps of itself in a step, often 0.999; 0: no average.",
		},
		{
			Path: "average.warmup", Type: TypeBoolean, Default: "true",
			Meaning: "Keep less at first, (1 + step) / (10 + step), so that the random start is forgotten.",
		},
	}
}

func runFields() []Field {
	taught := &Condition{"teacher", []string{"present"}}
	return []Field{
		{
			Path: "collapse", Type: TypeSection,
			Meaning: "When to stop a job whose student merges the classes: when it is under one of these bounds.",
		},
		{
			Path: "collapse.used_classes", Type: TypeNumber, Unit: "share", Default: "0.2", Bounds: closed(0, 1),
			Only:    taught,
			Meaning: "The least share of the classes that the teacher uses; 0 is off.",
		},
		{
			Path: "collapse.information", Type: TypeNumber, Unit: "share", Default: "0", Bounds: toBefore(0, 1), Only: taught,
			Meaning: "The least mutual information with the teacher, of the product joint, as a share of its highest value, " +
				"log C; 0 is off.",
		},
		{
			Path: "collapse.effective_rank", Type: TypeNumber, Default: "0", Bounds: atLeast(0),
			Meaning: "The least effective rank of the student's features, which is measured every health.rank_every steps; 0 " +
				"is off.",
		},
		{
			Path: "collapse.patience", Type: TypeInteger, Unit: "steps", Default: "100", Bounds: closed(1, 1e9),
			Meaning: "Stop after so many steps in a row under a bound. A measurement of the effective rank counts for the " +
				"health.rank_every steps from one to the next.",
		},
		{Path: "health", Type: TypeSection, Meaning: "What is measured beside the loss. It does not change the student."},
		{
			Path: "health.rank_every", Type: TypeInteger, Unit: "steps", Default: "100", Bounds: closed(0, 1e9),
			Meaning: "Steps between two measurements of the effective rank of the student's features; 0 never.",
		},
		{Path: "checkpoint", Type: TypeSection, Meaning: "How often the state is saved."},
		{
			Path: "checkpoint.every", Type: TypeInteger, Unit: "steps", Default: "100", Bounds: closed(1, 1e9),
			Meaning: "Steps from one checkpoint to the next. The last step always makes one.",
		},
		{
			Path: "checkpoint.keep", Type: TypeInteger, Unit: "checkpoints", Default: "3", Bounds: closed(1, 1e9),
			Meaning: "The newest checkpoints that stay; older ones are deleted.",
		},
		{
			Path: "checkpoint.keep_every", Type: TypeInteger, Unit: "steps", Default: "0", Bounds: closed(0, 1e9),
			Meaning: "Checkpoints whose step is a multiple of this stay, too; 0 none.",
		},
		{
			Path: "checkpoint.keep_best", Type: TypeInteger, Unit: "checkpoints", Default: "0", Bounds: closed(0, 1e9),
			Meaning: "So many checkpoints with the best values of checkpoint.metric stay, too.",
		},
		{
			Path: "checkpoint.metric", Type: TypeChoice, Default: MetricLoss,
			Values:  []string{MetricLoss, MetricInformation, MetricAccuracy, MetricRank},
			Meaning: "What the best checkpoints are best in, at their own step: the smallest loss, or the largest of the others.",
		},
		{
			Path: "checkpoint.unsaved", Type: TypeInteger, Unit: "steps", Default: "0", Bounds: closed(0, 1e9),
			Meaning: "Steps that may be without a checkpoint while the storage cannot be written; then the job fails. At least " +
				"checkpoint.every; 0 is ten times that.",
		},
		{Path: "evaluate", Type: TypeSection, Meaning: "What is measured on dataset.test when the job ends."},
		{
			Path: "evaluate.neighbors", Type: TypeInteger, Unit: "images", Default: "20", Bounds: closed(1, 1<<20),
			Meaning: "k of the k-nearest-neighbour classifier on the student's features.",
		},
		{
			Path: "evaluate.temperature", Type: TypeNumber, Default: "0.07", Bounds: above(0),
			Meaning: "T in a neighbour's vote exp(similarity / T).",
		},
		{
			Path: "evaluate.bank", Type: TypeInteger, Unit: "images", Default: "0", Bounds: atLeast(0),
			Meaning: "Training images that k-NN and the linear probe learn from, spread evenly over the dataset; 0: all. " +
				"Time and memory grow with it.",
		},
		{
			Path: "evaluate.baselines", Type: TypeBoolean, Default: "true",
			Meaning: "Measure the teacher and the untrained student as well, to compare with. false saves the time.",
		},
	}
}
