#!/usr/bin/python3
"""Makes many pictures of few, for learning from a teacher, who says what they are.

usage: mixed_pictures.py FROM.bin TO.bin COUNT

Files are in CIFAR-10's binary form: a label and 3 x 32 x 32 bytes a picture. 45 of 100 pictures have
a rectangle of another one, 25 are two blended, the rest are as they were; half of what is put in is
turned left to right. Labels are those of the first picture. The same numbers every time.
"""
import sys

import numpy

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE


def put_in(picture, other, rng):
    """A rectangle of `other`, centred anywhere, whose area is uniform."""
    half = int(SIDE * numpy.sqrt(1 - rng.beta(1, 1))) // 2
    y, x = rng.integers(0, SIDE, 2)
    rows = slice(max(y - half, 0), min(y + half, SIDE))
    columns = slice(max(x - half, 0), min(x + half, SIDE))
    picture[:, rows, columns] = other[:, rows, columns]
    return picture


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    rng = numpy.random.default_rng(7)
    records = numpy.fromfile(sys.argv[1], numpy.uint8)
    if records.size == 0 or records.size % RECORD != 0:
        sys.exit(f"{sys.argv[1]}: not pictures of {RECORD} bytes")
    records = records.reshape(-1, RECORD)
    pictures = records[:, 1:].reshape(-1, 3, SIDE, SIDE).astype(numpy.float32)
    made = numpy.empty((int(sys.argv[3]), RECORD), numpy.uint8)
    for record in made:
        first, second = rng.integers(0, len(records), 2)
        way = rng.random()
        picture = pictures[first].copy()
        other = pictures[second][:, :, ::-1] if rng.random() < 0.5 else pictures[second]
        if way < 0.45:
            picture = put_in(picture, other, rng)
        elif way < 0.7:
            share = rng.beta(0.4, 0.4)
            picture = share * picture + (1 - share) * other
        record[0] = records[first, 0]
        record[1:] = numpy.clip(numpy.rint(picture), 0, 255).astype(numpy.uint8).reshape(-1)
    made.tofile(sys.argv[2])


if __name__ == "__main__":
    main()
