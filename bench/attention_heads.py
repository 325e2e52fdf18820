#!/usr/bin/python3
"""What it costs to survey attention heads, and what it saves when heads look at few keys.

    attention_heads.py [--turns N] [--lengths 256 512 1024] [--keep FOLDER]

The survey is that of bench/attention_heads.c. The encoder of tools/models/planted_encoder.py is
adapted by `spry adapt --method head-policy` to a text of this repository, and both are timed by
`spry bench`, in turns: the time is that of all attention nodes. One thread.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SPRY = os.environ.get("SPRY_BINARY", os.path.join(ROOT, "build", "release", "spry"))
PROGRAM = os.path.join(ROOT, "build", "release", "bench", "attention_heads")
GENERATOR = os.path.join(ROOT, "tools", "models", "planted_encoder.py")
TEXT = os.path.join(ROOT, "docs", "design.md")
LENGTHS = (256, 512, 1024)


def survey_rows(rounds):
    """A row per length: attention alone against attention with a survey."""
    done = subprocess.run([PROGRAM, "--rounds", str(rounds)], check=True, capture_output=True,
                          text=True)
    rows = []
    for line in done.stdout.splitlines()[1:]:
        words = line.split()
        if words[1] == "survey":
            rows.append({"name": words[0], "peer_ms": float(words[2]), "spry_ms": float(words[4]),
                         "ratio": float(words[6])})
    return rows


def attention_ms(model, length, runs):
    """Milliseconds of a run in attention, and how it was planned."""
    done = subprocess.run([SPRY, "bench", model, "--set", "N=1", "--set", f"T={length}",
                           "--explain", "--threads", "1", "--runs", str(runs), "--warmup", "1",
                           "--json", "--quiet"], check=True, capture_output=True, text=True)
    nodes = [op for op in json.loads(done.stdout)["ops"] if op["type"] == "Attention"]
    return sum(op["ms"] for op in nodes) / nodes[0]["calls"] * min(op["calls"] for op in nodes), \
        {op["way"] for op in nodes}


def adapt(folder, length):
    """Writes the adapted encoder; returns its path and what was said of it."""
    path = os.path.join(folder, f"few_{length}.onnx")
    done = subprocess.run([SPRY, "adapt", os.path.join(folder, "planted.onnx"), "-o", path,
                           "--method", "head-policy", "--text", TEXT, "--vocab",
                           os.path.join(folder, "vocab.txt"), "--window", str(length), "--limit",
                           "8", "--threads", "1", "--force", "--json", "--quiet"],
                          check=True, capture_output=True, text=True)
    return path, json.loads(done.stdout)


def policy_rows(turns, lengths=LENGTHS, folder=None):
    """A row per length: attention of all keys against that of the keys that were chosen."""
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = folder or made
        subprocess.run([GENERATOR, os.path.join(folder, "planted.onnx"),
                        os.path.join(folder, "vocab.txt")], check=True)
        for length in lengths:
            path, facts = adapt(folder, length)
            times = []
            for _ in range(turns):
                dense, _ = attention_ms(os.path.join(folder, "planted.onnx"), length, 3)
                few, ways = attention_ms(path, length, 3)
                assert "head policies" in ways, ways
                times.append((dense, few))
            rows.append({"name": str(length), "cosine": facts["layer_cosine"],
                         "output_cosine": facts["output_cosine"], "share": facts["share"],
                         "dense_heads": facts["dense"],
                         "peer_ms": statistics.median(t[0] for t in times),
                         "spry_ms": statistics.median(t[1] for t in times),
                         "ratio": statistics.median(t[0] / t[1] for t in times)})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--keep", help="leaves the models in this folder")
    options = parser.parse_args()
    print("tokens  all keys  with survey  ratio")
    for row in survey_rows(2 * options.turns + 1):
        print(f"{row['name']:>6}  {row['peer_ms']:5.2f} ms  {row['spry_ms']:8.2f} ms  "
              f"{row['ratio']:.3f}")
    print("tokens  all keys  few keys  ratio  dense heads  products  cosine of a layer, outputs")
    for row in policy_rows(options.turns, options.lengths, options.keep):
        print(f"{row['name']:>6}  {row['peer_ms']:5.2f} ms  {row['spry_ms']:5.2f} ms  "
              f"{row['ratio']:5.2f}  {row['dense_heads']:11}  {100 * row['share']:6.1f} %  "
              f"{row['cosine']:.5f}, {row['output_cosine']:.5f}")


if __name__ == "__main__":
    main()
