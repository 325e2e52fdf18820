#!/usr/bin/python3
"""Holds what `spry train` reaches against PyTorch: is its loss one that PyTorch could have got?

    torch_spread.py [--data FOLDER] [--spry PROGRAM] [--seeds N] [--only NAME] [--threads N]

Both sides train the same network from nothing on the same images: LeNet on 6,000 digits of MNIST,
ResNet-20 on 2,000 images of CIFAR-10, as they are and shifted and mirrored at random. Batch, steps,
optimizer, schedule and the distribution that first weights are drawn from are the same; weights,
orders and shifts are each side's own, from its seed. A figure is the mean loss over the steps of
the last epoch; loss and accuracy on images not learnt from are told beside it.

Every loss of Spry should lie within two standard deviations of the mean of PyTorch's. Since one
seed in twenty falls outside where both sides draw from the same distribution, the demand is on
their mean, and those outside are counted. Exit code 0 when it is met (or something is missing here,
which is said), 1 when not. FOLDER is that of the test data, with mnist and cifar10 below it.
"""

import argparse
import contextlib
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

import numpy as np

try:
    import torch
    from torch import nn
except ImportError:
    print("skipped: no PyTorch (Debian: python3-torch)")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "build", "release", "spry")
BATCH = 64
MOMENTUM = 0.9
DECAY = 5e-4
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2023, 0.1994, 0.2010)
TESTED = 2000
SHIFT = 4  # pixels, where images are moved


# ---- data ----

def read_idx(folder, prefix, count):
    """Images [count, 1, 28, 28] and labels of an MNIST pair."""
    with gzip.open(os.path.join(folder, f"{prefix}-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(os.path.join(folder, f"{prefix}-labels-idx1-ubyte.gz")) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images[:count], labels[:count].astype(np.int64)


def read_cifar(path, count):
    """Images [count, 3, 32, 32] and labels of the binary form."""
    rows = np.fromfile(path, np.uint8).reshape(-1, 3073)[:count]
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def load(case, data):
    """(images, labels) to learn from and to test on, as bytes."""
    if case["data"] == "mnist":
        folder = os.path.join(data, "mnist")
        return read_idx(folder, "train", 6000), read_idx(folder, "t10k", TESTED)
    folder = os.path.join(data, "cifar10")
    return (read_cifar(os.path.join(folder, "train_calib_2000.bin"), 2000),
            read_cifar(os.path.join(folder, "test_batch.bin"), TESTED))


def write(folder, name, pair):
    """The pair as a file for `spry`; returns KIND:PATH."""
    path = os.path.join(folder, f"{name}.npz")
    np.savez(path, images=pair[0], labels=pair[1].astype(np.int32))
    return f"npz:{path}"


# ---- networks: those of `spry new` ----

class Block(nn.Module):
    """Two convolutions; the shortcut takes every other pixel and adds channels of zeros."""

    def __init__(self, channels, filters):
        super().__init__()
        self.thins = filters != channels
        self.added = filters - channels
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, 2 if self.thins else 1, 1, bias=False),
            nn.BatchNorm2d(filters), nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        y = self.body(x)
        if self.thins:
            half = self.added // 2
            x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.added - half))
        return torch.relu(y + x)


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    channels = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(channels, filters))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 20, 5, bias=False), nn.BatchNorm2d(20), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(20, 50, 5, bias=False), nn.BatchNorm2d(50),
        nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 500),
        nn.ReLU(inplace=True), nn.Linear(500, 10))


def draw(net):
    """First weights as `spry new` draws them: He's before rectifiers, the last layer uniform."""
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        if layer is layers[-1]:
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


CASES = {
    "lenet": {"net": lenet, "data": "mnist", "recipe": "unit", "epochs": 2, "rate": 0.02,
              "moves": False},
    "resnet20": {"net": resnet20, "data": "cifar10", "recipe": "cifar", "epochs": 6, "rate": 0.1,
                 "moves": False},
    "resnet20 moved": {"net": resnet20, "data": "cifar10", "recipe": "cifar", "epochs": 8,
                       "rate": 0.1, "moves": True},
}


# ---- the sides ----

def move(images):
    """A window out of the image with black pixels around; mirrored half the time."""
    sides = images.shape[-1]
    wide = nn.functional.pad(images, (SHIFT,) * 4)
    rows = []
    for image in wide:
        top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
        image = image[:, top:top + sides, left:left + sides]
        rows.append(image.flip(2) if torch.rand(()) < 0.5 else image)
    return torch.stack(rows)


def scale(case, images):
    """Bytes to the numbers of the recipe."""
    x = images.float() / 255
    if case["recipe"] == "cifar":
        mean = torch.tensor(CIFAR_MEAN).reshape(3, 1, 1)
        x = (x - mean) / torch.tensor(CIFAR_STD).reshape(3, 1, 1)
    return x


def evaluate(case, net, pair):
    """Mean loss and top-1 on images not learnt from."""
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(scale(case, part)) for part in torch.tensor(pair[0]).split(500)])
    labels = torch.tensor(pair[1])
    return (nn.functional.cross_entropy(scores, labels).item(),
            (scores.argmax(1) == labels).float().mean().item())


def train_torch(case, seed, learnt, tested):
    """(loss of the last epoch, loss and top-1 on other images) in PyTorch."""
    torch.manual_seed(seed)
    net = case["net"]().train()
    draw(net)
    products = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    optimizer = torch.optim.SGD([{"params": products, "weight_decay": DECAY}, {"params": others}],
                                lr=case["rate"], momentum=MOMENTUM)
    images, labels = torch.tensor(learnt[0]), torch.tensor(learnt[1])
    per_epoch = len(labels) // BATCH
    steps = per_epoch * case["epochs"]
    losses = []
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(labels))
        picked = order[step % per_epoch * BATCH:][:BATCH]
        x = move(images[picked]) if case["moves"] else images[picked]
        for group in optimizer.param_groups:
            group["lr"] = case["rate"] / 2 * (1 + math.cos(math.pi * step / steps))
        loss = nn.functional.cross_entropy(net(scale(case, x)), labels[picked])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return (statistics.fmean(losses[-per_epoch:]), *evaluate(case, net, tested))


def call(program, *words):
    done = subprocess.run([program, *words, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def train_spry(case, seed, folder, learnt, tested, options):
    """The same in Spry."""
    fresh, trained = (os.path.join(folder, f"{name}.onnx") for name in ("fresh", "trained"))
    call(options.spry, "new", case["net"].__name__, "-o", fresh, "--seed", str(seed), "--force")
    words = ["train", fresh, "-o", trained, "--force", "--json", "--data", learnt, "--validate",
             tested, "--preprocess", case["recipe"], "--batch", str(BATCH), "--epochs",
             str(case["epochs"]), "--lr", str(case["rate"]), "--momentum", str(MOMENTUM),
             "--weight-decay", str(DECAY), "--seed", str(seed), "--threads", str(options.threads)]
    if case["moves"]:
        words += ["--augment", f"crop:{SHIFT},flip"]
    last = json.loads(call(options.spry, *words))["epochs"][-1]
    return last["loss"], last["validation_loss"], last["validation"]


# ---- the table ----

def compare(name, case, options):
    """Prints the row of a case; whether the demand is met."""
    learnt, tested = load(case, options.data)
    peers = [train_torch(case, seed, learnt, tested) for seed in range(options.seeds)]
    with tempfile.TemporaryDirectory() as folder:
        files = write(folder, "learnt", learnt), write(folder, "tested", tested)
        ours = [train_spry(case, seed, folder, *files, options) for seed in range(options.seeds)]
    mean, deviation = (f([row[0] for row in peers]) for f in (statistics.fmean, statistics.stdev))
    inside = sum(abs(row[0] - mean) <= 2 * deviation for row in ours)
    met = abs(statistics.fmean(row[0] for row in ours) - mean) <= 2 * deviation
    for side, rows in (("PyTorch", peers), ("Spry", ours)):
        cells = [f"{statistics.fmean(column):.4f} ± {statistics.stdev(column):.4f}"
                 for column in list(zip(*rows))[:2]]
        top1 = [100 * row[2] for row in rows]
        verdict = "" if side == "PyTorch" else f"{inside} of {len(ours)} " + \
            ("(met)" if met else "(MISSED)")
        print(f"| {name} | {side} | {cells[0]} | {cells[1]} | {statistics.fmean(top1):.2f} ± "
              f"{statistics.stdev(top1):.2f} | {verdict} |", flush=True)
    if options.verbose:
        for row in zip(peers, ours):
            print(row, flush=True)
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get(
        "SPRY_DATA", os.path.join(os.path.dirname(ROOT), "shared", "data")))
    parser.add_argument("--spry", default=PROGRAM)
    parser.add_argument("--seeds", type=int, default=6, help="of each side; at least 2")
    parser.add_argument("--only", choices=sorted(CASES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="the figures of every seed too")
    options = parser.parse_args()
    if not os.path.isdir(os.path.join(options.data, "mnist")):
        print(f"skipped: no data in {options.data}")
        return 0
    torch.set_num_threads(options.threads)
    print("| network | side | training loss | test loss | test top-1 % | seeds within 2 s.d. |")
    print("| --- | --- | ---: | ---: | ---: | --- |", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        met = [compare(name, case, options) for name, case in CASES.items()
               if options.only in (None, name)]
        return 0 if all(met) else 1
    return 130


if __name__ == "__main__":
    sys.exit(main())
