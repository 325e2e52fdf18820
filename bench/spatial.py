#!/usr/bin/python3
"""What computing only the pixels that masks ask for saves, against computing all of them.

    spatial.py [--precision f32 bf16 int8] [--patches 8] [--network] [--rounds N]

Models are those of tools/models/spatial.py; integer ones are quantized by `spry quantize`. A block's
time is that of its convolutions, sum and activation; what finds the mask is reported beside it.
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
SPRY = os.environ.get("SPRY_BINARY", os.path.join(ROOT, "build", "release", "spry"))
PROGRAM = os.path.join(ROOT, "build", "release", "bench", "spatial")
MODELS = os.path.join(ROOT, "build", "models", "spatial")
PATCHES = (1, 2, 4, 8, 14)
DENSITIES = (100, 50, 30, 10)  # percent


def make_models():
    """Writes the models that are not there yet."""
    if not os.path.exists(os.path.join(MODELS, "resnet50_s4421_r30_disc.onnx")):
        subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "tools", "models", "spatial.py"),
                        MODELS], check=True)


def quantized(names, folder):
    """Paths of integer forms of models."""
    paths = []
    for name in names:
        paths.append(os.path.join(folder, f"{name}.onnx"))
        subprocess.run([SPRY, "quantize", os.path.join(MODELS, f"{name}.onnx"), "-o", paths[-1],
                        "-a", "8", "--method", "nearest", "--no-bench", "--force", "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)
    return paths


def time_models(names, precision, rounds):
    """What bench/spatial says of each model; they take turns."""
    with tempfile.TemporaryDirectory() as folder:
        if precision == "int8":
            paths, how = quantized(names, folder), "f32"
        else:
            paths, how = [os.path.join(MODELS, f"{name}.onnx") for name in names], precision
        done = subprocess.run([PROGRAM, "--precision", how, "--rounds", str(rounds), *paths],
                              check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def rows_of(names, precision, rounds, parts=("block_ms",)):
    """A row per model after the first, which computes everything. With the name of a part that is
    not there, as "whole_ms", whole runs count."""
    def total(facts):
        return sum(facts.get(part, 0.0) for part in parts)

    dense, *others = time_models(names, precision, rounds)
    return [{"name": name, "precision": precision, "density": facts["density"],
             "spry_ms": total(facts), "peer_ms": total(dense), "masker_ms": facts["masker_ms"],
             "ratio": total(dense) / total(facts)}
            for name, facts in zip(names[1:], others)]


def block_rows(precision, rounds, patches=PATCHES, densities=DENSITIES):
    """Blocks of 256 -> 64 -> 64 -> 256 at 56 x 56."""
    make_models()
    names = [f"block_s{patch}_r{percent}" for patch in patches for percent in densities]
    return rows_of(["block_dense", *names], precision, rounds)


NETWORKS_MASKED = ("r100", "r50", "r30", "r50_disc", "r30_disc")


def network_rows(precision, rounds, masks=("r50", "r50_disc")):
    """ResNet-50 in shape, patches of 4, 4, 2 and 1: every node counts, maskers too. Patches are
    random ones, or those of a disc."""
    make_models()
    names = [f"resnet50_s4421_{mask}" for mask in masks]
    parts = ("stem_ms", "block_ms", "masker_ms", "head_ms")
    return rows_of(["resnet50_dense", *names], precision, rounds, parts)


def main():
    parser = argparse.ArgumentParser(description="Time masks over pixels against all pixels.")
    parser.add_argument("--precision", nargs="+", default=["f32", "bf16", "int8"])
    parser.add_argument("--patches", nargs="+", type=int, default=PATCHES)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    for precision in arguments.precision:
        rows = (network_rows(precision, arguments.rounds, NETWORKS_MASKED) if arguments.network else
                block_rows(precision, arguments.rounds, arguments.patches))
        interleave.print_table(
            ["model", "precision", "density", "ms", "all pixels, ms", "ratio", "masker ms"],
            [[row["name"], row["precision"], f"{row['density']:.2f}", f"{row['spry_ms']:.3f}",
              f"{row['peer_ms']:.3f}", f"{row['ratio']:.2f}", f"{row['masker_ms']:.3f}"]
             for row in rows])
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
