#!/usr/bin/python3
"""What PyTorch computes, in float64: optimisers, clipping, averages of weights, schedules.

Needs python3-torch (1.13). Prints reference.json:  python3 make_reference.py > reference.json

tensors     lengths of the parameters; decay says which of them decay
initial     the parameters before the first update, gradients those of each step; all are float32 numbers
optimizers  by name: the configuration, the bound of the gradients' norm (0: no clipping), and the parameters after
            each step; lars is torch.optim.SGD behind NVIDIA's LARC (clip=False), written out here
norms       of each step's gradients
averages    decay, warm-up, and the averaged parameters and buffer after each step of the case "sgd"
schedules   the keys of the job file, the number of steps, and the rate of each step
"""

import json
import warnings

import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

warnings.simplefilter("ignore")  # schedulers without an optimiser's step, epochs given to schedulers in a sequence
torch.manual_seed(4)
STEPS, RATE = 8, 0.05
TENSORS, DECAY = [7, 3, 5], [True, False, True]


def numbers(*shape):
    return torch.randn(*shape).double()  # float32 numbers


initial = [numbers(n) for n in TENSORS]
gradients = [[numbers(n) * 2.0 ** (2 * i - 2) for i, n in enumerate(TENSORS)] for _ in range(STEPS)]


def flat(tensors):
    return [v for t in tensors for v in t.detach().reshape(-1).tolist()]


def larc(params, trust, decay):
    """apex/parallel/LARC.py with clip=False and eps=0: weight decay moves from SGD into the gradient."""
    for p, decays in zip(params, DECAY):
        if not decays:
            continue
        p_norm, g_norm = torch.norm(p), torch.norm(p.grad)
        if p_norm != 0 and g_norm != 0:
            p.grad = (p.grad + decay * p.detach()) * (trust * p_norm.detach() / (g_norm + p_norm.detach() * decay))


def optimizer(name, config, params):
    decay = config["weight_decay"]
    groups = [
        {"params": [p], "weight_decay": decay if decays and name != "lars" else 0} for p, decays in zip(params, DECAY)
    ]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=RATE, betas=config["betas"], eps=config["epsilon"])
    return torch.optim.SGD(groups, lr=RATE, momentum=config["momentum"], nesterov=config["nesterov"])


def train(name, config, bound):
    params = [torch.nn.Parameter(p.clone()) for p in initial]
    o = optimizer(name, config, params)
    after = []
    for grads in gradients:
        for p, g in zip(params, grads):
            p.grad = g.clone()
        if bound > 0:
            torch.nn.utils.clip_grad_norm_(params, bound)
        if name == "lars":
            larc(params, config["trust_coefficient"], config["weight_decay"])
        o.step()
        after.append(flat(params))
    return {"name": name, **config, "bound": bound, "rate": RATE, "after": after}


def momentum(m, nesterov=False, **more):
    return {"momentum": m, "nesterov": nesterov, "weight_decay": 0.01, **more}


adamw = {"weight_decay": 0.05, "betas": [0.9, 0.999], "epsilon": 1e-8}
optimizers = {
    "sgd without momentum": train("sgd", momentum(0.0), 0),
    "sgd": train("sgd", momentum(0.9), 0),
    "nesterov": train("sgd", momentum(0.9, True), 0),
    "adamw": train("adamw", adamw, 0),
    "adamw, epsilon that counts": train("adamw", {**adamw, "betas": [0.5, 0.9], "epsilon": 0.1}, 0),
    "sgd, clipped": train("sgd", momentum(0.9), 5.0),
    "adamw, clipped": train("adamw", adamw, 5.0),
    "lars": train("lars", momentum(0.9, trust_coefficient=0.02), 0),
    "lars, nesterov, clipped": train("lars", momentum(0.9, True, trust_coefficient=0.02), 5.0),
}


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor(flat(initial), dtype=torch.float64))
        self.register_buffer("statistics", torch.ones(2, dtype=torch.float64))


def average(decay, warmup):
    def kept(step):
        return min(decay, (1 + step) / (10 + step)) if warmup else decay

    network = Network()
    # The first call copies, and is made before the first step; call n is then that of step n - 1.
    averaged = AveragedModel(
        network, avg_fn=lambda a, x, n: kept(int(n) - 1) * a + (1 - kept(int(n) - 1)) * x, use_buffers=True
    )
    averaged.update_parameters(network)
    after = []
    for step, values in enumerate(optimizers["sgd"]["after"]):
        network.weights.data = torch.tensor(values, dtype=torch.float64)
        network.statistics += 0.5 * (step + 1)
        averaged.update_parameters(network)
        after.append({"weights": flat([averaged.module.weights]), "statistics": flat([averaged.module.statistics])})
    return {"decay": decay, "warmup": warmup, "after": after}


def rates(steps, make, peak=0.5):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    s = make(o)
    out = []
    for _ in range(steps):
        out.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
    return {"peak": peak, "steps": steps, "rates": out}


def warmed(steps, warm, make):
    """A linear warm-up, then a schedule of its own of what is left."""
    up = rates(warm, lambda o: lr_scheduler.LinearLR(o, 1 / warm, 1, warm - 1))
    rest = rates(steps - warm, make)
    return {**rest, "steps": steps, "rates": up["rates"] + rest["rates"]}


def cosine(length, final):
    return lambda o: lr_scheduler.CosineAnnealingLR(o, length, eta_min=final * 0.5)


def one_cycle(steps, start, div, final):
    o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    s = lr_scheduler.OneCycleLR(
        o, 0.5, total_steps=steps, pct_start=start, div_factor=div, final_div_factor=final, cycle_momentum=False
    )
    out = [o.param_groups[0]["lr"]]
    for _ in range(steps - 1):
        o.step()
        s.step()
        out.append(o.param_groups[0]["lr"])
    keys = {"name": "one_cycle", "pct_start": start, "div_factor": div, "final_div_factor": final}
    return {**keys, "peak": 0.5, "steps": steps, "rates": out}


def multi_step(milestones, gamma):
    return lambda o: lr_scheduler.MultiStepLR(o, milestones, gamma)


schedules = {
    "cosine": {"name": "cosine", "final": 0.01, **rates(50, cosine(50, 0.01))},
    "cosine to 0, warm-up": {"name": "cosine", "final": 0.0, "warmup": 0.2, **warmed(50, 10, cosine(40, 0.0))},
    "step": {"name": "step", "milestones": [0.5, 0.75], "gamma": 0.1, **rates(40, multi_step([20, 30], 0.1))},
    "step, warm-up": {
        "name": "step", "milestones": [0.3, 0.6, 0.9], "gamma": 0.5, "warmup": 0.1,
        **warmed(40, 4, multi_step([8, 20, 32], 0.5)),
    },
    "one cycle": one_cycle(50, 0.3, 25.0, 1e4),
    "one cycle, a top between steps": one_cycle(37, 0.25, 10.0, 100.0),
    "one cycle, only down": one_cycle(20, 0.0, 25.0, 1e4),
    "one cycle, only up": one_cycle(20, 1.0, 25.0, 1e4),
    "one cycle of a step": one_cycle(1, 0.3, 25.0, 1e4),
}

print(json.dumps({
    "tensors": TENSORS,
    "decay": DECAY,
    "initial": flat(initial),
    "gradients": [flat(g) for g in gradients],
    "norms": [float(torch.norm(torch.cat(g))) for g in gradients],
    "optimizers": optimizers,
    "averages": [average(0.9, False), average(0.9, True), average(0.3, True)],
    "schedules": schedules,
}, indent=1))
