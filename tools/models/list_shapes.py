#!/usr/bin/python3
"""Writes the layer shapes of the large benchmark models to bench/shapes/.

    list_shapes.py [DIRECTORY]

Every convolution and matrix product of one pass over one image or sentence is recorded as the
framework calls it, so that no shape is copied by hand. bench/README.md describes the lines.
"""

import os
import sys
from collections import Counter

import torch
from torch.overrides import TorchFunctionMode

import make_models

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench", "shapes")


class Recorder(TorchFunctionMode):
    """Counts the shapes of convolutions and matrix products, in order of first use."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function is torch.conv2d:
            self.add_conv(*args, **(kwargs or {}))
        elif function is torch.nn.functional.linear:
            filters, features = args[1].shape
            self.add_gemm(args[0].numel() // features, filters, features, 1)
        elif function in (torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            left, right = args
            *outer, rows, inner = left.shape
            self.add_gemm(rows, right.shape[-1], inner, torch.Size(outer).numel())
        return result

    def add_gemm(self, rows, columns, inner, times):
        self.count[f"gemm {rows} {columns} {inner}"] += times

    def add_conv(self, image, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        def first(value):
            return value if isinstance(value, int) else value[0]

        filters, _, height, width = weight.shape
        sizes = [*image.shape, filters, height, width, first(stride), first(padding),
                 first(dilation), groups]
        self.count["conv " + " ".join(str(size) for size in sizes)] += 1


def record(model):
    """Counter of shape lines of one model."""
    generator = torch.Generator().manual_seed(1)
    inputs = make_models.random_inputs(model, generator, batch=1)
    with torch.no_grad(), Recorder() as recorder:
        model.build().eval()(*inputs)
    return recorder.count


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else SHAPES
    os.makedirs(directory, exist_ok=True)
    for name, model in make_models.MODELS.items():
        if model.group != "large":
            continue
        with open(os.path.join(directory, f"{name}.txt"), "w", encoding="utf-8") as file:
            for line, count in record(model).items():
                file.write(f"{line} {count}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
