package job

func jobFields() []Field {
	return []Field{
		{
			Path: "name", Type: TypeText, Required: true,
			Meaning: "Names the run and its folder: up to 64 letters, digits, '-', '_' and '.', not starting with '.' or '-'.",
		},
		{
			Path: "seed", Type: TypeInteger, Default: "1", Bounds: atLeast(0),
			Meaning: "Seed of all randomness: initial weights, the prior, the order of the images, augmentation.",
		},
		{
			Path: "batch", Type: TypeInteger, Unit: "images", Default: "256", Bounds: closed(1, 1<<20),
			Meaning: "Images of a step, over all lanes. It does not change with the number of workers.",
		},
		{
			Path: "lanes", Type: TypeInteger, Default: "8", Bounds: closed(1, 4096),
			Meaning: "Data streams that the workers carry, and so the highest number of workers that have work. Must " +
				"divide batch. Another number of lanes is another job: batch norm sees batch / lanes images.",
		},
		{
			Path: "wire", Type: TypeChoice, Values: []string{WireInt32, WireInt16}, Default: WireInt32,
			Meaning: "Integers in which gradients are summed over lanes and workers. int16 halves what goes over the network; " +
				"each lane keeps what it rounds away and adds it to its next gradient, 4 bytes for each weight in memory and checkpoints. " +
				"When a worker dies at once, the job goes back to the newest checkpoint (docs/guarantees.md says why), instead of on " +
				"within the step; one that leaves on SIGTERM loses nothing. At most 258 lanes.",
		},
		{
			Path: "bucket", Type: TypeInteger, Unit: "bytes", Default: "0", Bounds: closed(0, 1<<30),
			Meaning: "Gradients, as float32, that cross the network together, while the backward pass goes on: tensors are put " +
				"together until they have this size, or half of what is left if that is less (64 KB at least). 0 takes an eighth of " +
				"all, 64 KB to 1 MB. It does not change the student.",
		},
		{
			Path: "steps", Type: TypeInteger, Unit: "steps", Default: "0", Bounds: closed(0, 1e9),
			Meaning: "How long to train: optimiser steps. Give this or epochs; 0 leaves it to epochs.",
		},
		{
			Path: "epochs", Type: TypeNumber, Unit: "passes", Default: "0", Bounds: closed(0, 1e6),
			Meaning: "How long to train: passes over dataset.train, each of as many whole batches as it holds. Give " +
				"this or steps; 0 leaves it to steps.",
		},
	}
}

func datasetFields() []Field {
	return []Field{
		{
			Path: "dataset", Type: TypeSection, Required: true,
			Meaning: "Where the packed images are (`coordinator data import` packs them).",
		},
		{
			Path: "dataset.train", Type: TypeLocation, Required: true,
			Meaning: "The images to train on.",
		},
		{
			Path: "dataset.test", Type: TypeLocation, Default: `""`,
			Meaning: "Held-out images with labels, for the accuracy at the end; empty skips it.",
		},
		{
			Path: "dataset.broken", Type: TypeChoice, Values: []string{BrokenFail, BrokenSkip}, Default: BrokenFail,
			Meaning: "What an image that cannot be decoded does: fail stops the job and names the image, skip takes " +
				"the next good image of the lane instead and counts it.",
		},
		{
			Path: "dataset.chunk", Type: TypeInteger, Unit: "images", Default: "64", Bounds: closed(1, 1<<20),
			Meaning: "Consecutive images of a shard that stay together when an epoch is shuffled. More means that a " +
				"lane reads fewer shards, less a better shuffle.",
		},
	}
}

func networkFields() []Field {
	return []Field{
		{
			Path: "teacher", Type: TypeSection,
			Meaning: "The trained network to learn from. Without this section (or with `teacher: null`) the student is " +
				"trained on labels alone.",
		},
		{
			Path: "teacher.model", Type: TypeLocation, Required: true,
			Meaning: "Folder with model.safetensors (torchvision's names) and config.json.",
		},
		{
			Path: "teacher.winograd", Type: TypeBoolean, Default: "true",
			Meaning: "Winograd's algorithm for the teacher's convolutions of 3 x 3 and stride 1 or 2, where it is faster: up to " +
				"4 times fewer multiplications. Features change by about 1e-6 of their size, so the job is another one; " +
				"false computes all convolutions directly.",
		},
		{Path: "student", Type: TypeSection, Meaning: "The network to train."},
		{
			Path: "student.architecture", Type: TypeChoice, Values: Architectures(), Default: "mobilenet_v2",
			Meaning: "A name of torchvision's; with _cifar the variant for small images, whose stem keeps their resolution.",
		},
		{
			Path: "student.width", Type: TypeNumber, Default: "1", Bounds: afterTo(0, 16),
			Meaning: "Multiplier of the number of channels.",
		},
		{
			Path: "student.outputs", Type: TypeInteger, Unit: "classes", Default: "0", Bounds: closed(0, 1<<20),
			Meaning: "Width of the logits; 0 takes the teacher's classes, or without a teacher the dataset's. A student " +
				"none of whose terms looks at logits has no classifier.",
		},
		{
			Path: "student.projection", Type: TypeBoolean, Default: "true",
			Meaning: "A linear layer between the student's pooled features and the terms that look at pooled features, as " +
				"wide as the teacher's; false compares them directly, so the widths must be equal.",
		},
		{
			Path: "student.size", Type: TypeInteger, Unit: "pixels", Default: "224", Bounds: closed(28, 512),
			Meaning: "Height and width of the network's input. Images are resized to it.",
		},
		{
			Path: "student.channels", Type: TypeInteger, Values: []string{"1", "3"}, Default: "3",
			Meaning: "1 for grey images, 3 for colour. Images are converted.",
		},
		{
			Path: "student.init", Type: TypeLocation, Default: `""`,
			Meaning: "Folder with model.safetensors to start from; empty starts from random weights.",
		},
	}
}

func viewsFields() []Field {
	taught := &Condition{"teacher", []string{"present"}}
	return []Field{
		{
			Path: "views.strength", Type: TypeNumber, Default: "0", Bounds: atLeast(0), Only: taught,
			Meaning: "From 1 on, the operations of views.student that the file does not give are derived from " +
				"views.teacher's, so many times as strong (docs/job.md says how); 0 is off. Not with policy same.",
		},
		{
			Path: "views.policy", Type: TypeChoice, Default: PolicyIndependent, Only: taught,
			Values: []string{PolicyIndependent, PolicyNested, PolicySame},
			Meaning: "How the student's view depends on the teacher's: independent draws both on their own; nested cuts " +
				"the student's from the teacher's, so its crop is a part of the teacher's crop, and the teacher's flip, " +
				"rotation and brightness come with it; same shows the student the teacher's view, and of views.student " +
				"only normalize is used.",
		},
	}
}

// viewFields documents one of the two views.
func viewFields(path, of string) []Field {
	var fields []Field
	var only *Condition
	if of == "the teacher" {
		only = &Condition{"teacher", []string{"present"}}
		fields = append(fields, Field{
			Path: "views", Type: TypeSection,
			Meaning: "Two augmentations of each image, which draw anew each time. The student's should be the stronger " +
				"one. The operations run in the order of the keys, but that images are normalised before a part is occluded.",
		})
	}
	return append(fields, []Field{
		{
			Path: path, Type: TypeSection, Only: only,
			Meaning: "What " + of + " sees of an image.",
		},
		{Path: path + ".crop", Type: TypeSection, Meaning: "A random part of the image, resized to the network's input."},
		{
			Path: path + ".crop.scale", Type: TypeRange, Unit: "share of the area", Default: "[1, 1]", Bounds: afterTo(0, 1),
			Meaning: "How much of the image is kept. [1, 1] with ratio [1, 1] takes the largest centred square.",
		},
		{
			Path: path + ".crop.ratio", Type: TypeRange, Unit: "width / height", Default: "[1, 1]", Bounds: closed(0.01, 100),
			Meaning: "Shape of the part, before it is resized.",
		},
		{
			Path: path + ".flip", Type: TypeNumber, Unit: "probability", Default: "0", Bounds: closed(0, 1),
			Meaning: "Mirror left and right.",
		},
		{
			Path: path + ".rotate", Type: TypeNumber, Unit: "degrees", Default: "0", Bounds: closed(0, 180),
			Meaning: "Rotate by an angle uniform between minus and plus this.",
		},
		{
			Path: path + ".brightness", Type: TypeNumber, Default: "0", Bounds: closed(0, 100),
			Meaning: "For b, multiply by a factor uniform between max(0, 1 - b) and 1 + b.",
		},
		{Path: path + ".occlude", Type: TypeSection, Meaning: "Cover a random rectangle."},
		{
			Path: path + ".occlude.probability", Type: TypeNumber, Unit: "probability", Default: "0", Bounds: closed(0, 1),
			Meaning: "How often.",
		},
		{
			Path: path + ".occlude.scale", Type: TypeRange, Unit: "share of the area", Default: "[0.02, 0.33]",
			Bounds:  afterTo(0, 1),
			Meaning: "Size of the rectangle.",
		},
		{
			Path: path + ".occlude.ratio", Type: TypeRange, Unit: "height / width", Default: "[0.3, 3.3]", Bounds: closed(0.01,
				100),
			Meaning: "Shape of the rectangle.",
		},
		{
			Path: path + ".occlude.value", Type: TypeNumber, Default: "0", Bounds: closed(-1e30, 1e30),
			Meaning: "What it is filled with, after normalisation: 0 is the mean colour.",
		},
		{
			Path: path + ".normalize", Type: TypeSection,
			Meaning: "(x - mean) / std for pixels x from 0 to 1. Without it: the teacher's, from its config.json, else the " +
				"dataset's own.",
		},
		{
			Path: path + ".normalize.mean", Type: TypeNumbers, Required: true, Bounds: closed(-1e30, 1e30),
			Meaning: "A value for each channel.",
		},
		{
			Path: path + ".normalize.std", Type: TypeNumbers, Required: true, Bounds: closed(1e-6, 1e30),
			Meaning: "A value for each channel.",
		},
	}...)
}
