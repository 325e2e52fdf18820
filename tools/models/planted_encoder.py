#!/usr/bin/python3
"""Writes an encoder whose attention heads have known patterns, and its vocabulary.

    planted_encoder.py OUT.onnx VOCAB.txt

No small trained encoder for long texts is free to ship, and heads with random weights look at
everything alike. So the patterns that trained ones are reported to have (Clark and others 2019:
neighbours, bands, the first token, content) are planted: 4 layers of 6 heads with 64 elements,
positions as 64 frequencies, queries and keys that turn these against each other, and a part that
depends on the tokens in every head. What flows through the layers is random. Tokens are letters;
any number of them up to 2048.

Needs Debian's python3-torch.
"""

import math
import string
import sys
import warnings

import torch
from torch import nn

LAYERS, HEADS, SIZE, LONGEST = 4, 6, 64, 2048
CONTENT, FREQUENCIES = 254, 64
WIDTH = CONTENT + 2 + 2 * FREQUENCIES  # content, is it the first token, one, sines and cosines
# Offset and reach of positional heads by layer; "first": the first token, "content": any.
PATTERNS = [
    [(-1, 1), (1, 1), (0, 3), (0, 8), "first", "content"],
    [(-1, 1), (1, 1), (-2, 2), (0, 12), "first", "first"],
    [(-1, 1), (0, 4), (3, 4), (0, 16), "first", "content"],
    [(-1, 1), (1, 2), (-6, 8), (0, 24), "first", "content"],
]


def geometric(count, highest, lowest):
    return torch.tensor([highest * (lowest / highest) ** (i / (count - 1)) for i in range(count)])


ALL = geometric(FREQUENCIES, 2.0, 2 * math.pi / LONGEST)


def plant(pattern, generator):
    """Weights [SIZE, WIDTH] and biases [SIZE] of queries and keys."""
    q, k = torch.zeros(SIZE, WIDTH), torch.zeros(SIZE, WIDTH)
    q_bias = torch.zeros(SIZE)
    content = 2.4 if pattern == "content" else 0.6
    rows = slice(SIZE - 12, SIZE)
    q[rows, :CONTENT] = torch.randn(12, CONTENT, generator=generator) * content / math.sqrt(CONTENT)
    k[rows, :CONTENT] = torch.randn(12, CONTENT, generator=generator) * content / math.sqrt(CONTENT)
    if pattern == "first":
        q_bias[0] = 12.0
        k[0, CONTENT] = 0.5
    elif pattern != "content":
        offset, reach = pattern
        first = int((ALL > 2.2 / reach).sum())
        chosen = list(range(first, FREQUENCIES))[:26]
        sharp = math.sqrt(14.0 * 8 / len(chosen))
        for i, f in enumerate(chosen):
            sine, cosine = CONTENT + 2 + 2 * f, CONTENT + 3 + 2 * f
            angle = float(ALL[f]) * offset
            # q of position p: the phase of p + offset.
            q[2 * i, sine], q[2 * i, cosine] = sharp * math.cos(angle), sharp * math.sin(angle)
            q[2 * i + 1, sine], q[2 * i + 1, cosine] = (-sharp * math.sin(angle),
                                                        sharp * math.cos(angle))
            k[2 * i, sine] = k[2 * i + 1, cosine] = sharp
    return q, k, q_bias


class Layer(nn.Module):
    def __init__(self, patterns, generator):
        super().__init__()
        inner = HEADS * SIZE
        self.q, self.k, self.v = (nn.Linear(WIDTH, inner) for _ in range(3))
        self.out, self.up, self.down = (nn.Linear(inner, WIDTH), nn.Linear(WIDTH, 2 * WIDTH),
                                        nn.Linear(2 * WIDTH, WIDTH))
        self.norm, self.norm2 = (nn.LayerNorm(WIDTH, elementwise_affine=False) for _ in range(2))
        planted = [plant(pattern, generator) for pattern in patterns]
        with torch.no_grad():
            self.q.weight.copy_(torch.cat([p[0] for p in planted]))
            self.k.weight.copy_(torch.cat([p[1] for p in planted]))
            self.q.bias.copy_(torch.cat([p[2] for p in planted]))
            self.k.bias.zero_()
            for linear, scale in ((self.v, 1.0), (self.out, 0.5), (self.up, 1.0), (self.down, 0.5)):
                linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * scale /
                                    math.sqrt(linear.in_features))
                linear.bias.zero_()
            for linear in (self.out, self.down):  # positions stay as they are
                linear.weight[CONTENT:] = 0

    def forward(self, x):
        n, t, _ = x.shape

        def heads(y):
            return y.reshape(n, t, HEADS, SIZE).transpose(1, 2)

        y = self.norm(x)
        q, k, v = heads(self.q(y)), heads(self.k(y)), heads(self.v(y))
        w = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(SIZE), -1)
        x = x + self.out(torch.matmul(w, v).transpose(1, 2).reshape(n, t, HEADS * SIZE))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Encoder(nn.Module):
    def __init__(self, vocabulary, generator):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, WIDTH)
        table = torch.zeros(LONGEST, WIDTH)
        angles = torch.arange(LONGEST)[:, None] * ALL[None]
        table[:, CONTENT + 2::2], table[:, CONTENT + 3::2] = angles.sin(), angles.cos()
        table[:, CONTENT + 1] = 1.0
        table[0, CONTENT] = 16.0
        self.register_buffer("table", table)
        self.layers = nn.ModuleList(Layer(patterns, generator) for patterns in PATTERNS)
        self.out = nn.Linear(WIDTH, 16)
        with torch.no_grad():
            weight = torch.randn(self.embed.weight.shape, generator=generator)
            weight[:, CONTENT:] = 0
            self.embed.weight.copy_(weight)
            self.out.weight.copy_(torch.randn(self.out.weight.shape, generator=generator) * 0.1)

    def forward(self, input_ids):
        x = self.embed(input_ids) + self.table[:input_ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    letters = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    tokens += ["##" + c for c in string.ascii_lowercase + string.digits]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(tokens) + "\n")
    network = Encoder(len(tokens), torch.Generator().manual_seed(1)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, torch.zeros(1, 40, dtype=torch.int64), sys.argv[1],
                          opset_version=13, input_names=["input_ids"], output_names=["scores"],
                          dynamic_axes={"input_ids": {0: "N", 1: "T"},
                                        "scores": {0: "N", 1: "T"}})


if __name__ == "__main__":
    main()
