#!/usr/bin/python3
"""What does a plan of blocks gain over every layer by itself, and over no plan? One line per network.

    tune.py [--threads N ...] [--budget TIME] [NETWORK ...]

The plan is made by `spry tune`, which at its end runs the model with it, without fusion and without
a plan in turn, and tells the least time of each. NETWORK is the name of a model in build/models.
"""

import argparse
import json
import os
import subprocess
import tempfile

import inputs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "build", "release", "spry")
MODELS = os.path.join(ROOT, "build", "models")
NETS = ("mobilenet_v2", "efficientnet_b0", "resnet50", "vgg16", "squeezenet1_1",
        "mobilenet_v2_qdq")


def tune(net, threads, budget):
    """A row: milliseconds with the plan (spry_ms) and with every layer by itself (peer_ms)."""
    path = os.path.join(MODELS, f"{net}.onnx")
    row = {"name": net, "threads": threads}
    if not os.path.exists(path):
        return {**row, "skipped": f"no {path} (tools/models/make_models.py)"}
    if not os.path.exists(PROGRAM):
        raise inputs.Unavailable(f"no program at '{PROGRAM}'")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([PROGRAM, "tune", path, "--quiet", "--json", "--budget", budget,
                               "--threads", str(threads), "-o", os.path.join(folder, "plan")],
                              capture_output=True, text=True, check=False)
    if done.returncode:
        return {**row, "skipped": done.stderr.strip()}
    told = json.loads(done.stdout)
    return {**row, "spry_ms": told["measured_ms"], "peer_ms": told["unfused_ms"],
            "ratio": told["unfused_ms"] / told["measured_ms"],
            "without_ms": told["automatic_ms"], "planning_ms": told["planning_ms"],
            "blocks": sum(len(each["layers"]) > 1 for each in told["rows"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--budget", default="10s")
    parser.add_argument("network", nargs="*", default=NETS)
    words = parser.parse_args()
    print(f"{'network':20} threads  planned ms  blocks  with ms  alone ms  gain  no plan ms")
    for net in words.network:
        for threads in words.threads:
            row = tune(net, threads, words.budget)
            if "skipped" in row:
                print(f"{net:20} {threads:7}  skipped: {row['skipped']}")
                continue
            print(f"{net:20} {threads:7}  {row['planning_ms']:10.0f}  {row['blocks']:6}  "
                  f"{row['spry_ms']:7.3f}  {row['peer_ms']:8.3f}  {row['ratio']:4.2f}  "
                  f"{row['without_ms']:10.3f}")


if __name__ == "__main__":
    main()
