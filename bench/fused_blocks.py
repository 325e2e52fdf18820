#!/usr/bin/python3
"""What it saves to run layers in blocks, strip by strip, against layer by layer.

    fused_blocks.py [--threads 1 2] [--rounds N]

Networks at their own size of input, and at one of 512 x 512 pixels, which is written into a copy of the
file. Blocks are the inverted residuals whose images in between are 2 MiB or more; those that did not gain
in a first pass are left out in a second one. A time is the sum of the least times of all nodes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import interleave

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PROGRAM = os.path.join(ROOT, "build", "release", "bench", "fused_blocks")
MODELS = os.path.join(ROOT, "build", "models")
NETWORKS = ("mobilenet_v2", "efficientnet_b0")
SIDE = 224
LARGE = 512


def varint(number):
    """A dimension as it stands in a file."""
    return bytes([0x08, number & 0x7F | 0x80, number >> 7])


def enlarged(name, folder):
    """A copy of the model for images of LARGE x LARGE pixels."""
    with open(os.path.join(MODELS, f"{name}.onnx"), "rb") as file:
        model = bytearray(file.read())
    at = model.rfind(b"\x0a\x05image")
    for _ in range(2):  # height, width
        at = model.index(varint(SIDE), at)
        model[at:at + 3] = varint(LARGE)
    path = os.path.join(folder, f"{name}_{LARGE}.onnx")
    with open(path, "wb") as file:
        file.write(model)
    return path


def time_model(path, threads, rounds):
    """The rows of blocks and that of the model."""
    done = subprocess.run([PROGRAM, "--threads", str(threads), "--rounds", str(rounds), "--layers", "3",
                           "--least", "2048", "--widen", "1", "--strip", "4", "--each", "1", path],
                          check=True, capture_output=True, text=True)
    *blocks, model = [json.loads(line) for line in done.stdout.splitlines()]
    return blocks, model


def rows(threads, rounds):
    """A row per network and size."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            own = os.path.join(MODELS, f"{name}.onnx")
            for side, path in ((SIDE, own), (LARGE, enlarged(name, folder))):
                blocks, model = time_model(path, threads, rounds)
                found.append({"name": name, "side": side, "threads": threads,
                              "spry_ms": model["block_ms"], "peer_ms": model["plain_ms"],
                              "ratio": model["ratio"], "same": model["same"],
                              "outside": model["outside"], "blocks": len(blocks),
                              "images_kib": max((b["images_kib"] for b in blocks), default=0),
                              "best": max((b["ratio"] for b in blocks), default=1.0)})
    return found


def main():
    parser = argparse.ArgumentParser(description="Time blocks of layers against single layers.")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    for threads in arguments.threads:
        interleave.print_table(
            ["network", "pixels", "blocks", "largest images, KiB", "bytes outside", "same bits", "ms",
             "single layers, ms", "ratio", "best block"],
            [[row["name"], str(row["side"]), str(row["blocks"]), f"{row['images_kib']:.0f}",
              str(row["outside"]), "yes" if row["same"] else "no", f"{row['spry_ms']:.2f}",
              f"{row['peer_ms']:.2f}", f"{row['ratio']:.2f}", f"{row['best']:.2f}"]
             for row in rows(threads, arguments.rounds)])
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
