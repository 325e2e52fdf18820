#!/usr/bin/python3
"""What each part of spry quantize --method ptq4vit is worth, without labels.

    bench/quantize_ablation.py --model M.onnx --preprocess unit \\
        --calibrate cifar10:train.bin --test test_batch.bin [--bits 8,6,4] [--units tensor]

Quantizes the model in every way of the table, runs each on CIFAR-10 pictures, and prints, against
the float model: signal-to-noise ratio of the scores in dB, mean KL divergence of the answers, and how
often the best class is the same, in per cent. One Markdown table per number of bits.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

SCALES = {
    "unit": (np.zeros(3), np.ones(3)),
    "cifar": (np.array([0.4914, 0.4822, 0.4465]), np.array([0.2023, 0.1994, 0.2010])),
}

# name: options of spry quantize
WAYS = {
    "none: cosine": ["--metric", "cosine", "--rounds", "1", "--grids", "symmetric", "--twin", "off"],
    "L2": ["--metric", "l2", "--grids", "symmetric", "--twin", "off"],
    "H": ["--grids", "symmetric", "--twin", "off"],
    "H + S": ["--grids", "symmetric", "--twin", "softmax"],
    "H + G": ["--grids", "symmetric", "--twin", "gelu"],
    "S + G": ["--metric", "l2", "--grids", "symmetric", "--twin", "pow2"],
    "all: H + S + G": ["--grids", "symmetric", "--twin", "pow2"],
    "all, free ratio": ["--grids", "symmetric", "--twin", "free"],
    "H, affine": ["--grids", "affine", "--twin", "off"],
    "as recommended": ["--grids", "best", "--twin", "pow2"],
}


def read_images(path, count, recipe):
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)[:count]
    mean, deviation = SCALES[recipe]
    x = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float64) / 255.0
    x = (x - mean[:, None, None]) / deviation[:, None, None]
    return x.astype(np.float32)


def run_model(spry, model, images, folder):
    subprocess.run([spry, "run", "-q", model, "-i", images, "-o", folder, "--force"], check=True,
                   stdout=subprocess.DEVNULL)
    (name,) = [f for f in os.listdir(folder) if f.endswith(".npy")]
    return np.load(os.path.join(folder, name)).astype(np.float64)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def measures(exact, found):
    noise = ((found - exact) ** 2).sum()
    sqnr = 10.0 * np.log10((exact ** 2).sum() / noise)
    p, q = log_softmax(exact), log_softmax(found)
    divergence = (np.exp(p) * (p - q)).sum(axis=1).mean()
    agreement = 100.0 * (exact.argmax(axis=1) == found.argmax(axis=1)).mean()
    return sqnr, divergence, agreement


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--spry", default="build/release/spry")
    parser.add_argument("--model", required=True)
    parser.add_argument("--preprocess", choices=sorted(SCALES), required=True)
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--samples", default="32")
    parser.add_argument("--test", required=True, help="a CIFAR-10 binary file")
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--bits", default="8,6,4")
    parser.add_argument("--units", default="tensor")
    parser.add_argument("--ways", default=";".join(WAYS),
                        help="lines of the table, separated by semicolons")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = os.path.join(folder, "images.npy")
        out = os.path.join(folder, "out")
        small = os.path.join(folder, "small.onnx")
        np.save(images, read_images(o.test, o.limit, o.preprocess))
        exact = run_model(o.spry, o.model, images, out)
        for bits in o.bits.split(","):
            print(f"\n| W{bits}A{bits} | SQNR, dB | KL | same best, % |\n| --- | --- | --- | --- |")
            for way in o.ways.split(";"):
                subprocess.run([o.spry, "quantize", "-q", o.model, "-o", small, "-m", "ptq4vit",
                                "-w", bits, "-a", bits, "-c", o.calibrate, "--preprocess",
                                o.preprocess, "--samples", o.samples, "--units", o.units,
                                "--no-bench", "--force", *WAYS[way]], check=True,
                               stdout=subprocess.DEVNULL)
                sqnr, divergence, agreement = measures(exact, run_model(o.spry, small, images, out))
                print(f"| {way} | {sqnr:.1f} | {divergence:.4f} | {agreement:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
