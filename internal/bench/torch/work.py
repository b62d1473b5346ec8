"""What is measured: a step of distillation and inference, in PyTorch's eager mode."""
import concurrent.futures
import io
import os
import time

import torch

import loss_reference  # of loss/testdata; it makes float64 the default
import networks

torch.set_default_dtype(torch.float32)

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MARGINAL_FLOOR = 1e-6  # of the target of a natural update


class Network:
    """A network and its images, in one of the two memory layouts."""

    def __init__(self, config, folder, name):
        self.model = networks.build(config, os.path.join(folder, name + ".safetensors"))
        self.images = networks.read_images(os.path.join(folder, name + ".images"), config["size"])
        self.use("contiguous")

    def use(self, layout):
        self.layout = layout
        self.model.to(memory_format=LAYOUTS[layout])
        self.images = self.images.contiguous(memory_format=LAYOUTS[layout])

    def freeze(self):
        self.model.eval().requires_grad_(False)


class Prior:
    """The prior mutual information with product joint, conditional posterior and natural update, in float64."""

    def __init__(self, spec):
        matrix = lambda v: torch.tensor(v, dtype=torch.float64).reshape(len(spec["weights"]), -1)
        self.m, self.d, self.a = (matrix(spec[k]) for k in ("m", "d", "a"))
        self.w = torch.tensor(spec["weights"], dtype=torch.float64)
        self.rate, self.tau_t, self.tau_s = spec["rate"], spec["teacher_temperature"], spec["student_temperature"]

    def follow(self, p):
        """The natural-gradient step of m and d, before the loss is taken."""
        dz = self.rate * (torch.log(torch.clamp(p.sum(0), min=MARGINAL_FLOOR)) - self.log())
        q = (self.w[:, None] ** 2 * (1 + self.a**2)).sum(0)
        self.m = self.m + self.w[:, None] * dz / q
        self.d = self.d + self.w[:, None] * self.a * dz / q

    def log(self):
        return loss_reference.log_prior(self.m, self.d, self.a, self.w)

    def loss(self, teacher, student):
        log = loss_reference.log
        t, s = loss_reference.distributions(teacher.double(), student.double(), self.tau_t, self.tau_s)
        p = loss_reference.joint(t, s, "product")
        with torch.no_grad():
            self.follow(p)
        posterior = log(p) - log(p.sum(1, keepdim=True))
        return (p * (self.log()[None, :] - posterior)).sum()


class Views:
    """Encoded images in memory, and their two views as torchvision makes them from PIL's images, in threads."""

    def __init__(self, spec):
        from torchvision import transforms

        v, size = spec["views"], spec["student"]["size"]
        self.files = [open(os.path.join(v["files"], f), "rb").read() for f in sorted(os.listdir(v["files"]))]
        self.pool = concurrent.futures.ThreadPoolExecutor(spec["threads"])
        self.two = [
            transforms.Compose([
                transforms.RandomResizedCrop(size, v[which], v["ratio"]),
                transforms.RandomHorizontalFlip(v["flip"]),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.25] * 3),
            ])
            for which in ("teacher", "student")
        ]

    def of(self, file):
        from PIL import Image

        image = Image.open(io.BytesIO(file)).convert("RGB")
        return [view(image) for view in self.two]

    def load(self, *networks):
        made = list(self.pool.map(self.of, self.files))
        for i, n in enumerate(networks):
            n.images = torch.stack([m[i] for m in made]).contiguous(memory_format=LAYOUTS[n.layout])


class Step:
    """One step: the teacher's forward pass, the student's, the loss, the student's backward pass, AdamW."""

    def __init__(self, spec):
        self.teacher = Network(spec["teacher"], spec["folder"], "teacher")
        self.student = Network(spec["student"], spec["folder"], "student")
        self.teacher.freeze()
        self.student.model.train()
        self.spec, self.optimizer, self.views = spec, None, None
        self.networks = {"teacher": self.teacher, "student": self.student}

    def begin(self):
        """Makes what the steps need beside networks and images."""
        o = self.spec["optimizer"]
        self.prior = Prior(self.spec["prior"])
        decay, rest = [], []
        for p in self.student.model.parameters():
            (decay if p.dim() > 1 else rest).append(p)
        groups = [{"params": decay, "weight_decay": o["weight_decay"]}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=o["rate"], betas=(o["beta1"], o["beta2"]), eps=o["epsilon"])

    def teach(self):
        with torch.no_grad():
            return self.teacher.model(self.teacher.images)

    def learn(self, teacher, lanes=1):
        self.optimizer.zero_grad(set_to_none=True)
        parts = [self.student.model(x) for x in self.student.images.chunk(lanes)]
        loss = self.prior.loss(teacher, parts[0] if lanes == 1 else torch.cat(parts))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def decode(self):
        self.views = Views(self.spec)

    def run(self):
        if self.views:
            self.views.load(self.teacher, self.student)
        return self.learn(self.teach())

    def check(self, lanes):
        """The loss of a first step, and by how much that of a second one is lower; each in another layout. With several
        lanes the student sees its batch in as many parts, each with batch norms of its own, as lanes do."""
        losses = []
        for layout in LAYOUTS:
            self.use(layout)
            losses.append(self.learn(self.teach(), lanes))
        return [losses[0], losses[0] - losses[1]]

    def use(self, layout):
        for n in self.networks.values():
            n.use(layout)

    def parts(self, layout):
        """The two parts of a step that have a layout of their own."""
        self.use(layout)
        teacher = self.teach()
        return {"teacher": self.teach, "student": lambda: self.learn(teacher)}


class Inference:
    """The teacher's or the student's forward pass alone."""

    def __init__(self, spec):
        self.name = spec["network"]
        self.network = Network(spec[self.name], spec["folder"], self.name)
        self.network.freeze()
        self.networks = {self.name: self.network}

    def begin(self):
        pass

    def run(self):
        with torch.inference_mode():
            return self.network.model(self.network.images)

    def check(self, _lanes):
        """The root mean square of the logits, in each layout."""
        values = []
        for layout in LAYOUTS:
            self.network.use(layout)
            values.append(self.run().double().pow(2).mean().sqrt().item())
        return values

    def parts(self, layout):
        self.network.use(layout)
        return {self.name: self.run}


def seconds(work, times):
    """The CPU time of the fastest of some runs."""
    best = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def choose(work, times):
    """Puts each network into the layout in which its part takes less CPU time, which other programs disturb less than
    the wall clock. Returns the seconds of all."""
    spent = {}
    for layout in LAYOUTS:
        for name, part in work.parts(layout).items():
            spent.setdefault(name, {})[layout] = seconds(part, times)
    for name, by_layout in spent.items():
        work.networks[name].use(min(by_layout, key=by_layout.get))
    return spent
