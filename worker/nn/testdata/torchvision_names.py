#!/usr/bin/python3
"""Writes torchvision_names.txt: the names and shapes of torchvision's networks, in the order of their state_dict. A line is
the network's name, or a tensor's name and its sizes. num_batches_tracked, which has no size, is left out: one follows each
running_var.

Run it with torchvision 0.14 (Debian's python3-torchvision): ./torchvision_names.py > torchvision_names.txt
"""
import torchvision

NETWORKS = ["resnet18", "resnet34", "resnet50", "resnet101", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]

for network in NETWORKS:
    print(network)
    for name, tensor in getattr(torchvision.models, network)(weights=None).state_dict().items():
        if tensor.dim() > 0:
            print(name, *tensor.shape)
