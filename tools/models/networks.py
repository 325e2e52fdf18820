"""Networks that torchvision does not have, or writes in a form few exporters produce.

The vision transformer keeps its three projections in one matrix and BERT keeps them apart,
because these are the two forms in which attention reaches a runtime in practice.
"""

import math

import torch
from torch import nn


def heads_first(x, heads):
    """[batch, tokens, width] -> [batch, heads, tokens, width / heads]"""
    return x.reshape(x.shape[0], x.shape[1], heads, x.shape[2] // heads).transpose(1, 2)


def heads_last(x):
    """[batch, heads, tokens, depth] -> [batch, tokens, heads * depth]"""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])


class JointAttention(nn.Module):
    """Self-attention whose query, key and value come from one matrix product."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        depth = x.shape[2] // self.heads
        split = self.qkv(x).reshape(x.shape[0], x.shape[1], 3, self.heads, depth)
        parts = split.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (parts[0] @ parts[1].transpose(-2, -1)) * self.scale
        return self.out(heads_last(scores.softmax(dim=-1) @ parts[2]))


class VisionBlock(nn.Module):
    """Transformer block that normalises before each half."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = JointAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Image [N, 3, S, S] -> class scores [N, classes]."""

    def __init__(self, size, patch, width, depth, heads, hidden, classes):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(VisionBlock(width, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, classes)

    def forward(self, image):
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        first = self.class_token.expand(tokens.shape[0], -1, -1)
        tokens = torch.cat((first, tokens), dim=1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class MaskedAttention(nn.Module):
    """Self-attention with separate projections and an additive mask [N, 1, 1, T]."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x, mask):
        query = heads_first(self.query(x), self.heads)
        key = heads_first(self.key(x), self.heads)
        value = heads_first(self.value(x), self.heads)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        return self.out(heads_last((scores + mask).softmax(dim=-1) @ value))


class TextBlock(nn.Module):
    """Transformer block that normalises after each half."""

    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attention = MaskedAttention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class QuestionAnswerer(nn.Module):
    """BERT with its answer-span head: ids, mask, segments [N, T] -> start and end scores."""

    def __init__(self, vocabulary, width, depth, heads, hidden, positions=512):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(TextBlock(width, heads, hidden) for _ in range(depth))
        self.span = nn.Linear(width, 2)
        self.register_buffer("position_ids", torch.arange(positions).unsqueeze(0))

    def forward(self, input_ids, attention_mask, token_type_ids):
        positions = self.positions(self.position_ids[:, : input_ids.shape[1]])
        x = self.norm(self.words(input_ids) + self.segments(token_type_ids) + positions)
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        for block in self.blocks:
            x = block(x, mask)
        start, end = self.span(x).split(1, dim=-1)
        return start.squeeze(-1), end.squeeze(-1)


class SmallResidual(nn.Module):
    """Residual block, stride 2 with a projected shortcut; the least that exercises fusion."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, 2, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, 2, bias=False)
        self.norm3 = nn.BatchNorm2d(channels_out)

    def forward(self, x):
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (y + self.norm3(self.shortcut(x))).relu()


class Recurrent(nn.Module):
    """Bidirectional LSTM then GRU over [N, T, features], last step -> scores."""

    def __init__(self, features, hidden, classes):
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        x, _ = self.lstm(x)
        x, _ = self.gru(x)
        return self.head(x[:, -1])


class Scale(nn.Module):
    """Multiply by one learned vector: a model whose run is all call overhead."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight
