#!/usr/bin/python3
"""PyTorch's side of the ring's benchmark: one rank of torch.distributed over gloo. It reads commands from standard input
and answers each on standard output, one JSON object a line: {"error": text}, or what the command says.

  {"do": "listen"}                                  answers {"torch"}, the version
  {"do": "open", "rank", "size", "folder"}          connects the ranks, which find each other by a file
  {"do": "check", "elements": n}                    sums values whose sum is known, and leaves zeros
  {"do": "run", "elements": n, "times": k}          answers {"wall", "cpu"}, seconds of k sums, each after a copy of
                                                    what is summed: normally distributed values
  {"do": "latency", "elements": n, "times": k}      answers {"each": [...]}, seconds of every sum, without that copy
"""
import json
import sys
import time


class Rank:
    vector = None

    def listen(self, order):
        import torch
        import torch.distributed

        torch.set_num_threads(1)
        self.torch, self.dist = torch, torch.distributed
        return {"torch": torch.__version__}

    def open(self, order):
        self.rank, self.size = order["rank"], order["size"]
        self.dist.init_process_group(
            "gloo", init_method="file://" + order["folder"], rank=self.rank, world_size=self.size
        )
        return {}

    def check(self, order):
        values = self.torch.arange(order["elements"]) % 13 - 6
        self.vector = ((self.rank + 1) * values).float()
        self.dist.all_reduce(self.vector)
        if not self.torch.equal(self.vector, (self.size * (self.size + 1) // 2 * values).float()):
            raise RuntimeError("the sum is wrong")
        self.torch.manual_seed(self.rank)
        self.gives = self.torch.randn(order["elements"])
        return {}

    def run(self, order):
        self.dist.barrier()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(order["times"]):
            self.vector.copy_(self.gives)
            self.dist.all_reduce(self.vector)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def latency(self, order):
        self.dist.barrier()
        each = []
        for _ in range(order["times"]):
            self.vector.copy_(self.gives)
            begin = time.perf_counter()
            self.dist.all_reduce(self.vector)
            each.append(time.perf_counter() - begin)
        return {"each": each}


rank = Rank()
for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = getattr(rank, order["do"])(order)
    except ModuleNotFoundError as e:
        answer = {"error": f"Python has no {e.name}", "missing": e.name}
    except Exception as e:
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), flush=True)
