#!/usr/bin/python3
"""Times a step of training in PyTorch on request: the peer of bench/train_step.c.

    torch_train.py NET [--batch N] [--threads N] [--mode forward|step|private]

resnet20 and lenet are those of bench/train_net.c, vit64 and vit192 those of bench/train.py. The
mode private takes the examples one by one, clips the gradient of each and adds it. The line
protocol is described in bench/README.md.
"""

import argparse
import json
import sys
import time

try:
    import torch
    from torch import nn
except ImportError as missing:
    sys.exit(f"torch_train.py: {missing} (Debian: python3-torch)")


class Block(nn.Module):
    """Two convolutions beside a shortcut, by projection where the number of channels changes."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride, 1, bias=False), nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True), nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters))
        self.shortcut = nn.Identity()
        if channels != filters:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False),
                                          nn.BatchNorm2d(filters))

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    channels = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(channels, filters, 2 if filters > channels else 1))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, 1, 2, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 128), nn.ReLU(inplace=True), nn.Linear(128, 10))


class Attention(nn.Module):
    """Queries, keys and values by one product."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        parts = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class VitBlock(nn.Module):
    """x + attention(norm(x)), x + mlp(norm(x))"""

    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                                 nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.mlp(x)


class Vit(nn.Module):
    """Two blocks over patches of 4 and a class token."""

    def __init__(self, width, heads):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 65, width) * 0.02)
        self.body = nn.Sequential(VitBlock(width, heads), VitBlock(width, heads),
                                  nn.LayerNorm(width))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.body(x)[:, 0])


NETS = {"resnet20": (resnet20, (3, 32, 32)), "lenet": (lenet, (1, 28, 28)),
        "vit64": (lambda: Vit(64, 4), (3, 32, 32)), "vit192": (lambda: Vit(192, 3), (3, 32, 32))}


def clip_each(net, loss, images, targets, limit=1.0):
    """The sum of the gradients of the examples, each shortened to `limit`."""
    weights = list(net.parameters())
    sums = [torch.zeros_like(w) for w in weights]
    for i in range(len(images)):
        gradients = torch.autograd.grad(loss(net(images[i:i + 1]), targets[i:i + 1]), weights)
        norm = torch.sqrt(sum(g.pow(2).sum() for g in gradients))
        torch._foreach_add_(sums, gradients, alpha=min(1.0, limit / norm.item()))
    return sums


def serve(run):
    """Answers the lines of standard input."""
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["quit"]:
            return
        if len(words) != 2 or words[0] != "run":
            print("error unknown line", flush=True)
            continue
        start = time.perf_counter()
        for _ in range(int(words[1])):
            run()
        print(f"ms {(time.perf_counter() - start) * 1e3 / int(words[1])}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", choices=sorted(NETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", choices=("forward", "step", "private"), default="step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    build, shape = NETS[arguments.net]
    net = build().train()
    images = torch.randn(arguments.batch, *shape)
    targets = torch.arange(arguments.batch) % 10
    loss = nn.CrossEntropyLoss()

    def run():
        if arguments.mode == "forward":
            with torch.no_grad():
                loss(net(images), targets)
            return
        if arguments.mode == "private":
            clip_each(net, loss, images, targets)
            return
        net.zero_grad(set_to_none=True)
        loss(net(images), targets).backward()

    run()
    print("ready", json.dumps({"version": f"PyTorch {torch.__version__}"}), flush=True)
    serve(run)


if __name__ == "__main__":
    main()
