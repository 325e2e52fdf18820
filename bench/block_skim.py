#!/usr/bin/python3
"""What dropping blocks of tokens saves, against the same encoder that computes all, beside what the
multiply-accumulates that are left promise.

    block_skim.py [--threads N] [--rounds N] [--kept 1 0.5 0.25]

Four layers of BERT-base's width with random weights, at 384 tokens, are adapted by `spry adapt
--method block-skim`. The predictor behind the first layer is set to drop whatever it may, the others
nothing; the question, which stays, is made as long as is to be kept.
"""

import argparse
import os
import subprocess
import sys

import numpy as np

import inputs
import interleave

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
SPRY = os.environ.get("SPRY_BINARY", os.path.join(ROOT, "build", "release", "spry"))
RUNNER = os.path.join(ROOT, "build", "release", "bench", "spry_runner")
MODELS = os.path.join(ROOT, "build", "models")
DENSE = os.path.join(MODELS, "bert_four_384.onnx")
FOLDER = os.path.join(MODELS, "block_skim")
TOKENS, BLOCK, LAYERS, WIDTH, HEADS, DECIDES = 384, 32, 4, 768, 12, 0
KEPT = (1, 0.5, 0.25)


def needs_parts():
    for path, how in ((RUNNER, "cmake -DSPRY_BUILD_BENCH=ON"),
                      (DENSE, "tools/models/make_models.py build/models")):
        if not os.path.exists(path):
            raise inputs.Unavailable(f"no {path} ({how})")
    try:
        import onnx  # pylint: disable=import-outside-toplevel,unused-import
    except ImportError as reason:
        raise inputs.Unavailable("no python3-onnx") from reason


def make_models():
    """The adapted model that drops nothing, and the one that drops what it may, made once."""
    import onnx  # pylint: disable=import-outside-toplevel
    from onnx import numpy_helper  # pylint: disable=import-outside-toplevel
    os.makedirs(FOLDER, exist_ok=True)
    keeps, drops = (os.path.join(FOLDER, f"{name}.onnx") for name in ("keeps", "drops"))
    if os.path.exists(drops):
        return keeps, drops
    subprocess.run([SPRY, "adapt", DENSE, "-o", keeps, "--method", "block-skim", "--block",
                    str(BLOCK), "--force", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    model = onnx.load(keeps)
    changes = {f"skim{DECIDES}_threshold": np.float32(0.999999),
               f"skim{DECIDES}_fc_bias": np.array([30, -30], np.float32)}
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            tensor.CopyFrom(numpy_helper.from_array(changes[tensor.name], tensor.name))
    onnx.save(model, drops)
    return keeps, drops


def layer_macs(tokens):
    return 12 * tokens * WIDTH ** 2 + 2 * tokens ** 2 * WIDTH


def predictor_macs(tokens):
    pixels = BLOCK * BLOCK
    return tokens // BLOCK * (9 * HEADS ** 2 * pixels * 5 // 4 + HEADS * pixels // 8)


def promised(tokens):
    """How many times fewer multiply-accumulates there are with so many tokens behind DECIDES."""
    left = sum(layer_macs(size) + (predictor_macs(size) if layer + 1 < LAYERS else 0)
               for layer in range(LAYERS)
               for size in [TOKENS if layer <= DECIDES else tokens])
    return LAYERS * layer_macs(TOKENS) / left


def write_inputs(question):
    """Arguments of the runner for a question of so many tokens."""
    random = np.random.default_rng(7)
    segments = np.ones((1, TOKENS), np.int64)
    segments[:, :question] = 0
    arrays = {"input_ids": random.integers(0, 100, (1, TOKENS)),
              "attention_mask": np.ones((1, TOKENS), np.int64), "token_type_ids": segments}
    words = []
    for name, array in arrays.items():
        path = os.path.join(FOLDER, f"{name}_{question}.raw")
        array.astype(np.int64).tofile(path)
        words += ["-i", f"{name}=i64:1,{TOKENS}:{path}"]
    return words


def rows(rounds, kept=KEPT, threads=1):
    """A row for each share of blocks that stays."""
    needs_parts()
    keeps, drops = make_models()
    made = []
    for share in kept:
        blocks = round(share * TOKENS / BLOCK)
        # one block that is not the question stays as the best of those that may go
        words = [*write_inputs(BLOCK if share == 1 else (blocks - 1) * BLOCK), "--threads",
                 str(threads)]
        model = keeps if share == 1 else drops
        with interleave.Peer("skims", [RUNNER, model, *words]) as left, \
                interleave.Peer("all", [RUNNER, DENSE, *words]) as right:
            turns = interleave.compare(left, right, rounds, 1)
        promise = promised(blocks * BLOCK)
        made.append({"name": f"{blocks} of {TOKENS // BLOCK} blocks", "spry_ms": turns.left_ms,
                     "peer_ms": turns.right_ms, "speedup": turns.ratio, "promised": promise,
                     "ratio": turns.ratio / promise})
    return made


def main():
    parser = argparse.ArgumentParser(description="Time skipped blocks against all blocks.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kept", nargs="+", type=float, default=KEPT)
    arguments = parser.parse_args()
    try:
        interleave.print_table(
            ["kept", "ms", "all blocks, ms", "faster", "promised", "of what is promised"],
            [[row["name"], f"{row['spry_ms']:.1f}", f"{row['peer_ms']:.1f}",
              f"{row['speedup']:.2f}", f"{row['promised']:.2f}", f"{row['ratio']:.2f}"]
             for row in rows(arguments.rounds, arguments.kept, arguments.threads)])
    except inputs.Unavailable as reason:
        print(f"skipped: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
