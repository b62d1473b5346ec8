#!/usr/bin/python3
"""PyTorch's side of the benchmark. It reads commands from standard input and answers each on standard output, one JSON
object a line: {"error": text}, or what the command says.

  {"do": "prepare", "spec": {...}}    reads networks and images; answers {"torch", "torchvision", "threads"}
  {"do": "begin"}                     makes optimiser and prior; answers {}
  {"do": "use", "layouts": {...}}     puts networks, by name, into memory layouts; answers {}
  {"do": "check", "lanes": n}         answers {"values": [...]}, figures that must be those of the Go side
  {"do": "choose", "times": n}        takes the faster layout for each network; answers {"layouts", "seconds"}
  {"do": "decode"}                    lets steps decode and augment their images from now on; answers {}
  {"do": "run", "times": n}           answers {"cpu", "wall"}, seconds of n runs
  {"do": "memory", "times": n}        begins, makes n runs; answers {"growth"}, bytes: the peak less what was there
"""
import ctypes
import gc
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../loss/testdata"))


class Peer:
    def prepare(self, spec):
        import torch
        import torchvision

        import kernels
        import work

        self.torch, self.work, threads = torch, work, spec["threads"]
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        if torch.get_num_threads() != threads:
            raise RuntimeError(f"PyTorch uses {torch.get_num_threads()} threads instead of {threads}")
        kinds = {"step": work.Step, "inference": work.Inference, "kernel": kernels.Kernel}
        self.run_once = kinds[spec["kind"]](spec)
        return {"torch": torch.__version__, "torchvision": torchvision.__version__, "threads": threads}

    def begin(self):
        self.run_once.begin()
        return {}

    def use(self, layouts):
        for name, layout in layouts.items():
            self.run_once.networks[name].use(layout)
        return {}

    def decode(self):
        self.run_once.decode()
        return {}

    def check(self, lanes):
        return {"values": self.run_once.check(lanes)}

    def choose(self, times):
        spent = self.work.choose(self.run_once, times)
        return {"layouts": {k: n.layout for k, n in self.run_once.networks.items()}, "seconds": spent}

    def run(self, times):
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            self.run_once.run()
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    def memory(self, times):
        nn, images = self.torch.nn, self.torch.zeros(1, 3, 8, 8)
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))(images).sum().backward()  # what is loaded at first use
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")  # the peak begins anew
        before = resident("VmRSS")
        self.begin()
        for _ in range(times):
            self.run_once.run()
        return {"growth": resident("VmHWM") - before}


def resident(field):
    """A size of /proc/self/status, in bytes."""
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    peer = Peer()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(peer, command.pop("do"))(**command)
        except ModuleNotFoundError as e:
            answer = {"error": f"Python has no {e.name}", "missing": e.name}
        except Exception as e:  # the other side decides what follows
            answer = {"error": f"{type(e).__name__}: {e}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
