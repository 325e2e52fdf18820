#!/usr/bin/python3
"""MNIST's digits, each placed anywhere on a black frame of 96 x 96 pixels.

    framed_digits.py FOLDER OUT TRAINING TEST

reads the four gzipped idx files in FOLDER and writes OUT/framed-train.npz and OUT/framed-t10k.npz
(images u8 [N, 1, 96, 96], labels i64 [N]) with the first TRAINING and TEST samples, and where each
digit stands: framed-NAME-places.npy, i64 [N, 2], row and column of its 28 x 28 box.
"""

import gzip
import sys

import numpy as np

SIDE = 96
DIGIT = 28


def read_idx(path):
    """The array in a gzipped idx file of bytes."""
    with gzip.open(path) as file:
        content = file.read()
    rank = content[3]
    sizes = np.frombuffer(content, ">u4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def main():
    """Writes both sets."""
    folder, out = sys.argv[1:3]
    for name, count, seed in (("train", int(sys.argv[3]), 1), ("t10k", int(sys.argv[4]), 2)):
        digits = read_idx(f"{folder}/{name}-images-idx3-ubyte.gz")[:count]
        labels = read_idx(f"{folder}/{name}-labels-idx1-ubyte.gz")[:count]
        places = np.random.default_rng(seed).integers(0, SIDE - DIGIT + 1, (len(digits), 2))
        images = np.zeros((len(digits), 1, SIDE, SIDE), np.uint8)
        for image, digit, (row, column) in zip(images, digits, places):
            image[0, row:row + DIGIT, column:column + DIGIT] = digit
        np.savez(f"{out}/framed-{name}.npz", images=images, labels=labels.astype(np.int64))
        np.save(f"{out}/framed-{name}-places.npy", places)


main()
