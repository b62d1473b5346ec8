"""One operation, in PyTorch's eager mode."""
import numpy
import torch
from torch.nn import functional

from work import LAYOUTS


def pattern(count, salt):
    """The numbers of kernels.go."""
    i = numpy.arange(count, dtype=numpy.int64)
    return torch.from_numpy((((i * 7919 + salt * 104729) % 2003) / 2003 - 0.5).astype(numpy.float32))


def images(shape, salt):
    """[N, C, H, W] of values in the order [N, H, W, C]."""
    n, h, w, c = shape
    return pattern(n * h * w * c, salt).reshape(n, h, w, c).permute(0, 3, 1, 2)


NUMBERS = ("adamw", "sgd", "exps", "tofixed", "addfixed", "fromfixed")
PIXELS = ("maxpool", "avgpool", "scale", "add")
SCALE, LIMIT = 2.0 ** 24, 8_000_000  # fixedExponent and fixedLimit of kernels.go


def to_fixed(x):
    return (x.double() * SCALE).round_().clamp_(-LIMIT, LIMIT).int()


class Tensors:
    """What an operation reads, in one of the two memory layouts."""

    def __init__(self, tensors):
        self.given = tensors
        self.use("contiguous")

    def use(self, layout):
        self.layout = layout
        self.now = [t.contiguous(memory_format=LAYOUTS[layout]) if t.dim() == 4 else t for t in self.given]


class Kernel:
    def __init__(self, spec):
        o = self.o = spec["operation"]
        n, h, w, c, k, size, stride = (o[x] for x in ("n", "h", "w", "c", "k", "size", "stride"))
        if o["op"] == "gemm":
            tensors = [pattern(n * c, 1).reshape(n, c), pattern(c * k, 2).reshape(c, k)]
        elif o["op"] in NUMBERS:
            tensors = [pattern(n, 1), pattern(n, 2)]
        elif o["op"] in PIXELS:
            oh, ow = ((x + 2 * (size // 2) - size) // stride + 1 for x in (h, w)) if o["op"] == "maxpool" else (h, w)
            tensors = [images((n, h, w, c), 1), images((n, oh, ow, c), 3), pattern(n * c, 2).reshape(n, c, 1, 1)]
        elif o["op"] == "norm":
            tensors = [images((n, h, w, c), 1), images((n, h, w, c), 3), pattern(c, 4), pattern(c, 5)]
        else:
            self.groups = c if o["op"] == "depthwise" else 1
            oh, ow = ((x + 2 * (size // 2) - size) // stride + 1 for x in (h, w))
            filters = pattern(size * size * c * k // self.groups, 2)
            filters = filters.reshape(size, size, c // self.groups, k).permute(3, 2, 0, 1)
            tensors = [images((n, h, w, c), 1), filters, images((n, oh, ow, k), 3), pattern(k, 4)]
        self.networks = {"kernel": Tensors(tensors)}
        self.graph = None
        if o["op"] in NUMBERS:
            self.reset()

    def reset(self):
        """Operations that change what they read start again."""
        x, gradients = self.networks["kernel"].now
        self.fixed, self.sum = to_fixed(x), torch.zeros(len(x), dtype=torch.int32)
        self.exponents = x.double() * 20  # expsFactor
        self.weights = x.clone()
        self.weights.grad = gradients
        if self.o["op"] == "adamw":
            self.optimizer = torch.optim.AdamW(
                [self.weights], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        elif self.o["op"] == "sgd":
            self.optimizer = torch.optim.SGD(
                [self.weights], lr=1e-2, momentum=0.9, nesterov=True, weight_decay=0.01)

    def begin(self):
        pass

    def run(self):
        o, t = self.o, self.networks["kernel"].now
        if o["op"] == "norm":
            return self.norm(o["pass"], *t)
        if o["op"] in NUMBERS:
            return self.number(t[0])
        with torch.inference_mode():
            if o["op"] == "gemm":
                return torch.mm(*t)
            if o["op"] in PIXELS:
                return self.pixels(o, *t)
            return self.convolution(o, *t)

    def convolution(self, o, x, w, dy, shift):
        pad, stride = o["size"] // 2, o["stride"]
        if o["op"] == "frozen":
            return functional.relu(functional.conv2d(x, w, shift, stride, pad), inplace=True)
        if o["pass"] == "forward":
            return functional.conv2d(x, w, None, stride, pad, 1, self.groups)
        mask = [o["pass"] == "data", o["pass"] == "weights", False]
        results = torch.ops.aten.convolution_backward(
            dy, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], self.groups, mask)
        return results[0] if mask[0] else results[1]

    def pixels(self, o, x, dy, factors):
        forward, size, stride = o["pass"] == "forward", [o["size"]] * 2, [o["stride"]] * 2
        if o["op"] == "maxpool":
            window = (size, stride, [o["size"] // 2] * 2, [1, 1], False)
            if forward:
                return torch.ops.aten.max_pool2d_with_indices(x, *window)[0]
            if self.graph is None or self.graph[0] is not x:
                self.graph = (x, torch.ops.aten.max_pool2d_with_indices(x, *window)[1])
            return torch.ops.aten.max_pool2d_with_indices_backward(dy, x, *window, self.graph[1])
        if o["op"] == "avgpool":
            if forward:
                return functional.adaptive_avg_pool2d(x, 1)
            return factors.expand_as(x) / (o["h"] * o["w"])  # what autograd does
        if o["op"] == "scale":
            if forward:
                return x * factors
            dx, _ = dy * factors, (dy * x).sum((2, 3))
            return dx
        return x + dy

    @torch.no_grad()
    def number(self, x):
        if self.o["op"] == "tofixed":
            return to_fixed(x)
        if self.o["op"] == "exps":
            return self.exponents.exp()
        if self.o["op"] == "addfixed":
            return self.sum.add_(self.fixed)
        if self.o["op"] == "fromfixed":
            return (self.fixed.double() / SCALE).float()
        self.optimizer.step()
        return self.weights

    def norm(self, which, x, dy, gamma, beta):
        forward = lambda: functional.relu6(functional.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5))
        if which == "forward":
            with torch.no_grad():
                return forward()
        if self.graph is None or self.graph[0] is not x:
            for v in (x, gamma, beta):
                v.requires_grad_(True)
            self.graph = (x, forward())
        return torch.autograd.grad(self.graph[1], (x, gamma, beta), dy, retain_graph=True)[0]

    def check(self, _lanes):
        """The root mean square of the result, and a mean of magnitudes that depends on their order."""
        if self.o["op"] in NUMBERS:
            self.reset()
            self.run()  # ours runs twice, too
        y = self.run()
        if self.o["pass"] == "weights":
            y = y.permute(2, 3, 1, 0)
        elif y.dim() == 4:
            y = y.permute(0, 2, 3, 1)
        y = y.detach().double().reshape(-1)
        weights = 1 + torch.arange(len(y), dtype=torch.float64) % 7
        return [y.pow(2).mean().sqrt().item(), (y.abs() * weights).mean().item()]

    def parts(self, layout):
        self.networks["kernel"].use(layout)

        def some():
            for _ in range(5):
                self.run()
        return {"kernel": some}
