#!/usr/bin/python3
"""Writes residual networks that compute a part of their pixels, and the same without masks.

    spatial.py [DIRECTORY]   (default build/models/spatial)

A block is y = relu(F(x) * M + shortcut), where M comes from a masker as LASNet has it (average of
patches, a convolution to two channels, keep >= skip, repeated per pixel). Weights are random; so
that densities are exact, the masker's numbers are made tiny and a constant pattern is added to
them: everything is computed as in a trained network, but the pattern decides.

    block_dense.onnx               256 -> 64 -> 64 -> 256 at 56 x 56
    block_s8_r50.onnx              patches of 8 x 8, half of them computed
    resnet50_dense.onnx, resnet50_s4421_r50.onnx, ...
    resnet50_s4421_r50_disc.onnx   those in a disc, as where an object is, instead of random ones

Needs Debian's python3-onnx and python3-numpy.
"""

import argparse
import os

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

OPSET = 13
TINY = 1e-6  # of the masker's numbers
SIDE = 56
CENTRE = (0.45, 0.55)  # of discs
PATCHES = (1, 2, 4, 8, 14)
DENSITIES = (100, 50, 30, 10)
STAGES = ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7))


class Builder:
    """A graph in the making: values are names."""

    def __init__(self, seed, disc=False):
        self.disc = disc
        self.random = np.random.default_rng(seed)
        self.masks = np.random.default_rng(seed + 1)  # so that masks change no other weight
        self.nodes, self.constants, self.count = [], [], 0
        self.part = "stem"  # what names of nodes start with

    def add(self, kind, inputs, outputs=1, **attributes):
        self.count += 1
        names = [f"{kind.lower()}_{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{self.part}.{kind}_{self.count}",
                                           **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array):
        self.count += 1
        name = f"constant_{self.count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv(self, x, filters, channels, kernel=1, stride=1, gain=2.0):
        scale = (gain / (channels * kernel * kernel)) ** 0.5
        shape = (filters, channels, kernel, kernel)
        weights = scale * self.random.standard_normal(shape, dtype=np.float32)
        bias = 0.1 * self.random.standard_normal(filters, dtype=np.float32)
        pad = kernel // 2
        return self.add("Conv", [x, self.constant(weights), self.constant(bias)],
                        kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def pattern(self, cells, density):
        """Positive where a cell is computed: as many as the density says."""
        numbers = np.full(cells * cells, -1.0, np.float32)
        order = self.masks.permutation(cells * cells)
        if self.disc:
            rows, columns = np.divmod(np.arange(cells * cells), cells)
            away = np.hypot((rows + 0.5) / cells - CENTRE[0], (columns + 0.5) / cells - CENTRE[1])
            order = np.argsort(away, kind="stable")
        numbers[order[:round(density * cells * cells)]] = 1.0
        return numbers.reshape(1, 1, cells, cells)

    def mask(self, x, channels, side, stride, patch, density):
        """M of a block whose result has `side` x `side` pixels."""
        self.part = "masker"
        cells = -(-side // patch)
        window = patch * stride
        if window > 1:
            x = self.add("AveragePool", [x], kernel_shape=[window] * 2, strides=[window] * 2,
                         ceil_mode=1, count_include_pad=0)
        weights = TINY * self.masks.standard_normal((2, channels, 1, 1), dtype=np.float32)
        logits = self.add("Conv", [x, self.constant(weights),
                                   self.constant(np.zeros(2, np.float32))], kernel_shape=[1, 1])
        keep, skip = self.add("Split", [logits], 2, axis=1)
        keep = self.add("Add", [keep, self.constant(self.pattern(cells, density))])
        mask = self.add("Cast", [self.add("GreaterOrEqual", [keep, skip])], to=TensorProto.FLOAT)
        if cells == side:
            return mask
        sizes = self.constant(np.array([1, 1, side, side], np.int64))
        return self.add("Resize", [mask, "", "", sizes], mode="nearest", nearest_mode="floor",
                        coordinate_transformation_mode="asymmetric")

    def block(self, x, channels, width, side, stride=1, patch=0, density=1.0):
        """A bottleneck of `side` x `side` results; patch 0: without a mask."""
        self.part = "block"
        out = 4 * width
        shortcut = x
        if stride > 1 or channels != out:
            shortcut = self.conv(x, out, channels, 1, stride, 1.0)
        y = self.add("Relu", [self.conv(x, width, channels)])
        y = self.add("Relu", [self.conv(y, width, width, 3, stride)])
        y = self.conv(y, out, width, gain=0.2)
        if patch > 0:
            mask = self.mask(x, channels, side, stride, patch, density)
            self.part = "block"
            y = self.add("Mul", [y, mask])
        return self.add("Relu", [self.add("Add", [y, shortcut])])

    def write(self, path, shape, result, result_shape):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        y = helper.make_tensor_value_info(result, TensorProto.FLOAT, result_shape)
        graph = helper.make_graph(self.nodes, "spatial", [x], [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        checker.check_model(model)
        save(model, path)


def write_block(path, patch=0, density=1.0):
    """Between two convolutions, as blocks are in networks: 256 x 56 x 56 are not copied."""
    builder = Builder(1)
    x = builder.add("Relu", [builder.conv("x", 256, 4)])
    y = builder.block(x, 256, 64, SIDE, 1, patch, density)
    builder.part = "head"
    y = builder.add("GlobalAveragePool", [y])
    builder.write(path, [1, 4, SIDE, SIDE], y, [1, 256, 1, 1])


def write_network(path, patches=(0, 0, 0, 0), density=1.0, disc=False):
    """ResNet-50 in shape."""
    builder = Builder(2, disc)
    x = builder.add("Relu", [builder.conv("x", 64, 3, 7, 2)])
    x = builder.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (width, blocks, side) in enumerate(STAGES):
        for i in range(blocks):
            x = builder.block(x, channels, width, side, 2 if stage > 0 and i == 0 else 1,
                              patches[stage], density)
            channels = 4 * width
    builder.part = "head"
    x = builder.add("Flatten", [builder.add("GlobalAveragePool", [x])])
    weights = 0.03 * builder.random.standard_normal((channels, 1000), dtype=np.float32)
    y = builder.add("MatMul", [x, builder.constant(weights)])
    builder.write(path, [1, 3, 224, 224], y, [1, 1000])


def main():
    parser = argparse.ArgumentParser(description="Write networks with masks over their pixels.")
    parser.add_argument("directory", nargs="?", default="build/models/spatial")
    folder = parser.parse_args().directory
    os.makedirs(folder, exist_ok=True)
    write_block(os.path.join(folder, "block_dense.onnx"))
    for patch in PATCHES:
        for percent in DENSITIES:
            write_block(os.path.join(folder, f"block_s{patch}_r{percent}.onnx"), patch,
                        percent / 100)
    write_network(os.path.join(folder, "resnet50_dense.onnx"))
    for percent, disc in ((100, False), (50, False), (30, False), (50, True), (30, True)):
        name = f"resnet50_s4421_r{percent}{'_disc' if disc else ''}.onnx"
        write_network(os.path.join(folder, name), (4, 4, 2, 1), percent / 100, disc)


if __name__ == "__main__":
    main()
