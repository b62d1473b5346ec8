"""The networks of the benchmark in torchvision's code, with the weights that the Go side has written."""
import json
import struct

import numpy
import torch
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

DTYPES = {"F32": numpy.float32, "I64": numpy.int64}

# MobileNetV2's stages: expansion, channels, blocks, stride. The CIFAR variant has stride 1 in the second and the stem.
STAGES = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


def resnet(block, layers, outputs, cifar):
    model = ResNet(block, layers, num_classes=outputs)
    if cifar:
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model


def mobilenet_v2(width, outputs, cifar):
    stages = [list(s) for s in STAGES]
    if cifar:
        stages[1][3] = 1
    model = MobileNetV2(num_classes=outputs, width_mult=width, inverted_residual_setting=stages)
    if cifar:
        model.features[0][0].stride = (1, 1)
    model.classifier[0] = torch.nn.Identity()  # dropout, which the Go side leaves out
    return model


def build(config, weights):
    """The network of a config (architecture, width, outputs) with the weights of a safetensors file, each of which must
    be there and nothing else."""
    name, cifar = config["architecture"], config["architecture"].endswith("_cifar")
    base = name[: -len("_cifar")] if cifar else name
    if base == "mobilenet_v2":
        model = mobilenet_v2(config["width"], config["outputs"], cifar)
    elif base in ("resnet18", "resnet50") and config["width"] == 1:
        block, layers = (BasicBlock, [2, 2, 2, 2]) if base == "resnet18" else (Bottleneck, [3, 4, 6, 3])
        model = resnet(block, layers, config["outputs"], cifar)
    else:
        raise ValueError(f"there is no {name} of width {config['width']} on PyTorch's side; add it to networks.py")
    model.load_state_dict(read_safetensors(weights))
    return model


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header, data = json.loads(f.read(size)), f.read()
    tensors = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        values = numpy.frombuffer(data[begin:end], DTYPES[t["dtype"]]).reshape(t["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors


def read_images(path, size):
    """Images [N, 3, size, size] of a file of float32 in the order [N, size, size, 3]."""
    values = numpy.fromfile(path, numpy.float32).reshape(-1, size, size, 3)
    return torch.from_numpy(values).permute(0, 3, 1, 2).contiguous()
