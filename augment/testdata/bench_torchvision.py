"""Compares the processor time of decoding a JPEG and making both views of it with that of torchvision and PIL.

Both sides read photo.jpg (224 x 224, 4:2:0, from memory) and make a teacher's view (crop, flip, normalise) and a
student's (crop, flip, rotation, brightness, normalise, erasing), on one thread. They take turns, so that what else the
machine does meets both. Needs go, python3-pil and python3-torchvision.

    python3 bench_torchvision.py [pairs [images]]
"""

import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import PIL
import torch
import torchvision
from PIL import Image
from torchvision import transforms

pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
images = int(sys.argv[2]) if len(sys.argv) > 2 else 400
folder = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
data = open(os.path.join(folder, "photo.jpg"), "rb").read()

# As BenchmarkTwoViews in ../bench_test.go has them.
last = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
teacher = transforms.Compose([
    transforms.RandomResizedCrop(224, (0.8, 1), (0.9, 1.1)), transforms.RandomHorizontalFlip(), *last])
student = transforms.Compose([
    transforms.RandomResizedCrop(224, (0.2, 1), (3 / 4, 4 / 3)), transforms.RandomHorizontalFlip(),
    transforms.RandomRotation(15, transforms.InterpolationMode.BILINEAR), transforms.ColorJitter(brightness=0.4),
    *last, transforms.RandomErasing(0.5, (0.02, 0.33), (0.3, 3.3))])


def theirs():
    """Milliseconds of processor time an image."""
    before = time.process_time()
    for _ in range(images):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        teacher(image)
        student(image)
    return (time.process_time() - before) / images * 1e3


def ours(program):
    out = subprocess.run([program, "-test.run", "^$", "-test.bench", "^BenchmarkTwoViews$", "-test.cpu", "1",
                          "-test.benchtime", f"{images}x"], cwd=os.path.dirname(folder), check=True,
                         capture_output=True, text=True).stdout
    return float(re.search(r"([0-9.e+]+) cpu-ns/op", out).group(1)) / 1e6


with tempfile.TemporaryDirectory() as work:
    program = os.path.join(work, "augment.test")
    subprocess.run(["go", "test", "-c", "-o", program, "."], cwd=os.path.dirname(folder), check=True)
    theirs(), ours(program)  # warm
    runs = []
    print(f"torchvision {torchvision.__version__}, PIL {PIL.__version__}; milliseconds of processor time an image")
    print("torchvision    pupil    ratio")
    for _ in range(pairs):
        a, b = theirs(), ours(program)
        runs.append((a, b, b / a))
        print(f"{a:11.3f} {b:8.3f} {b / a:8.3f}", flush=True)
medians = [statistics.median(column) for column in zip(*runs)]
ratios = [r for _, _, r in runs]
print("{:11.3f} {:8.3f} {:8.3f}  medians; the ratio is {:.3f} to {:.3f}".format(*medians, min(ratios), max(ratios)))
