#!/usr/bin/env python3
"""Train, export and measure the glyph network (Debian's python3-torch, CPU).

    train.py fit     --data train.npz --validation validation.npz -o glyphs.pt
    train.py export  --weights glyphs.pt -o glyphs.onnx
    train.py measure --weights glyphs.pt --data test.npz

A set is an NPZ of render.py: images uint8 [M,1,32,32], labels int64 [M]. The network sees
pixel/255.
"""
import argparse
import time
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from render import CLASSES, SIDE

WIDTHS = (16, 32, 48, 96)    # channels at 32x32, 16x16, 8x8 and 4x4
THREADS = 2


def chain(**parts):
    """Modules in sequence; their names become the node and weight names of the ONNX file."""
    return nn.Sequential(OrderedDict(parts))


def conv(inputs, outputs, size=3, stride=1, groups=1):
    """Convolution and batch norm; the norm brings the bias."""
    padding = size // 2
    return chain(conv=nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False),
                 norm=nn.BatchNorm2d(outputs))


def conv_relu(inputs, outputs, **options):
    return chain(linear=conv(inputs, outputs, **options), relu=nn.ReLU())


def separable(inputs, outputs, stride=1):
    """Depthwise 3x3, then pointwise 1x1, each with norm and ReLU."""
    return chain(depthwise=conv_relu(inputs, inputs, stride=stride, groups=inputs),
                 pointwise=conv_relu(inputs, outputs, size=1))


class Residual(nn.Module):
    """relu(x + conv(relu(conv(x)))): x[n][c][h][w] to the same shape."""

    def __init__(self, channels):
        super().__init__()
        self.first = conv_relu(channels, channels)
        self.second = conv(channels, channels)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(x + self.second(self.first(x)))


def build():
    """image[N][1][32][32] to logits[N][36]."""
    first, second, third, fourth = WIDTHS
    return chain(
        stem=conv_relu(1, first),
        halve=conv_relu(first, second, stride=2),
        widen=separable(second, third),
        pool=nn.MaxPool2d(2),
        residual=Residual(third),
        narrow=separable(third, fourth, stride=2),
        average=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        classify=nn.Linear(fourth, len(CLASSES)))


def read_set(paths):
    parts = [np.load(path) for path in paths]
    images = np.concatenate([part["images"] for part in parts])
    labels = np.concatenate([part["labels"] for part in parts])
    return torch.from_numpy(images), torch.from_numpy(labels)


def prepare(images):
    return images.float().div_(255.0)


def predict(network, images, batch=500):
    """Most likely class of each image, int64 [M]."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(prepare(part)).argmax(1) for part in images.split(batch)])


def shifted(images, generator):
    """A batch moved by up to one pixel each way, borders repeated: a new look in each epoch."""
    dy, dx = torch.randint(0, 3, (2,), generator=generator).tolist()
    wide = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return wide[:, :, dy:dy + SIDE, dx:dx + SIDE]


def fit(options):
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    images, labels = read_set(options.data)
    held = read_set(options.validation) if options.validation else None
    network = build()
    steps = options.epochs * (len(labels) // options.batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=steps, pct_start=0.2)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    started = time.monotonic()
    for epoch in range(options.epochs):
        network.train()
        order = torch.randperm(len(labels), generator=generator)
        total = 0.0
        for rows in order[:len(labels) // options.batch * options.batch].split(options.batch):
            optimizer.zero_grad()
            loss = loss_of(network(shifted(prepare(images[rows]), generator)), labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
        line = f"epoch {epoch + 1}: loss {total / len(labels):.4f}"
        if held:
            line += f", validation {(predict(network, held[0]) == held[1]).float().mean():.4f}"
        print(f"{line}, {time.monotonic() - started:.0f} s", flush=True)
    torch.save(network.state_dict(), options.output)


def load(path):
    network = build()
    network.load_state_dict(torch.load(path))
    return network.eval()


def export(options):
    """PRESERVE keeps each batch norm, in inference form, a node of its own; EVAL would fold it."""
    torch.onnx.export(
        load(options.weights), torch.zeros(1, 1, SIDE, SIDE), options.output, opset_version=13,
        do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
        input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}})


def measure(options):
    images, labels = read_set(options.data)
    guesses = predict(load(options.weights), images)
    right = guesses == labels
    print(f"accuracy {right.float().mean():.4f} ({int(right.sum())} of {len(labels)})")
    recall = [(float(right[labels == c].float().mean()), name) for c, name in enumerate(CLASSES)]
    worst = ", ".join(f"{name} {share:.3f}" for share, name in sorted(recall)[:8])
    print(f"worst classes: {worst}")
    wrong = torch.stack([labels, guesses], 1)[~right].tolist()
    kinds = sorted({tuple(pair) for pair in wrong}, key=lambda pair: -wrong.count(list(pair)))
    print("confusions (drawn>read): " + ", ".join(
        f"{CLASSES[a]}>{CLASSES[b]} {wrong.count([a, b])}" for a, b in kinds[:12]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    fitting = commands.add_parser("fit", help="train on one or more sets")
    fitting.set_defaults(call=fit)
    fitting.add_argument("--data", nargs="+", required=True)
    fitting.add_argument("--validation", nargs="+", help="a set to report after each epoch")
    fitting.add_argument("--epochs", type=int, default=8)
    fitting.add_argument("--batch", type=int, default=128)
    fitting.add_argument("--rate", type=float, default=0.004)
    fitting.add_argument("--seed", type=int, default=1)
    fitting.add_argument("-o", "--output", required=True)
    exporting = commands.add_parser("export", help="write the ONNX file")
    exporting.set_defaults(call=export)
    exporting.add_argument("-o", "--output", required=True)
    measuring = commands.add_parser("measure", help="accuracy and confusions on a set")
    measuring.set_defaults(call=measure)
    measuring.add_argument("--data", nargs="+", required=True)
    for command in (exporting, measuring):
        command.add_argument("--weights", required=True)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    options.call(options)


if __name__ == "__main__":
    main()
