#!/usr/bin/python3
"""What does a step of training cost? Against its forward pass, or PyTorch. A B A B, see README.md.

    train.py forward [NET:BATCH ...]     the step, and that of biases alone, by its forward pass
    train.py torch [NET:BATCH ...]       images per second, against PyTorch in f32
    train.py private [NET:BATCH ...]     gradients clipped example by example, against a step for
                                         each example here, and in PyTorch

NET is resnet20, lenet or the name of a model in build/models; the second knows the first two. The
third has vit64 and vit192: two blocks on images of 32 x 32 in patches of 4, of that width.
"""

import argparse
import contextlib
import importlib.util
import os
import sys

import inputs
import interleave

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "build", "release", "bench", "train_step")
PEER = os.path.join(ROOT, "bench", "peers", "torch_train.py")
PRIVATE = os.path.join(ROOT, "build", "release", "bench", "train_private")
MODELS = os.path.join(ROOT, "build", "models")
OWN = ("resnet20", "lenet")
NETS = {"forward": ("resnet18:8", "vit_s16:4", "resnet20:32"),
        "torch": ("resnet20:32", "resnet20:128", "lenet:32", "lenet:128"),
        "private": ("vit64:64", "vit192:64")}
VITS = {"vit64": ("--units", "64", "--heads", "4", "--patch", "4"),
        "vit192": ("--units", "192", "--heads", "3", "--patch", "4")}


def spry(net, batch, mode, precision, threads):
    """The command that times a network here."""
    path = net if net in OWN else os.path.join(MODELS, f"{net}.onnx")
    if net not in OWN and not os.path.exists(path):
        raise inputs.Unavailable(f"no {path} (tools/models/make_models.py)")
    if not os.path.exists(PROGRAM):
        raise inputs.Unavailable(f"no program at '{PROGRAM}' (cmake -DSPRY_BUILD_BENCH=ON)")
    return [PROGRAM, path, "--batch", str(batch), "--mode", mode, "--precision", precision,
            "--threads", str(threads)]


def private(net, batch, mode, threads):
    """The command that times the gradient of a private step: mode ghost, loop or plain."""
    if not os.path.exists(PRIVATE):
        raise inputs.Unavailable(f"no program at '{PRIVATE}' (cmake -DSPRY_BUILD_BENCH=ON)")
    return [PRIVATE, mode, *VITS[net], "--batch", str(batch), "--threads", str(threads)]


def torch(net, batch, threads, mode="step"):
    """The command that times a network in PyTorch."""
    if importlib.util.find_spec("torch") is None:
        raise inputs.Unavailable("no PyTorch (Debian: python3-torch)")
    return ["/usr/bin/python3", PEER, net, "--batch", str(batch), "--mode", mode, "--threads",
            str(threads)]


def measure(left, right, rounds, seconds):
    """Medians of both sides, and how much longer the right one takes."""
    environment = {"OMP_NUM_THREADS": left[-1]}
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(interleave.Peer(os.path.basename(side[0]), side, environment))
                 for side in (left, right)]
        return interleave.compare(*peers, rounds, 1, seconds)


def against_forward(word, mode, precision="f32", threads=1, rounds=7, seconds=20):
    """A row: the step of `mode` by its forward pass."""
    net, _, batch = word.partition(":")
    turns = measure(spry(net, batch, "forward", precision, threads),
                    spry(net, batch, mode, precision, threads), rounds, seconds)
    return {"name": f"{word} {mode} {precision}", "threads": threads, "ratio": turns.ratio,
            "spry_ms": turns.right_ms, "peer_ms": turns.left_ms, "spry_turns_ms": turns.right,
            "peer_turns_ms": turns.left}


def against_torch(word, precision="f32", threads=1, rounds=7, seconds=20):
    """A row: how many times as many images per second."""
    net, _, batch = word.partition(":")
    turns = measure(spry(net, batch, "step", precision, threads), torch(net, batch, threads),
                    rounds, seconds)
    return {"name": f"{word} {precision}", "threads": threads, "ratio": turns.ratio,
            "spry_ms": turns.left_ms, "peer_ms": turns.right_ms, "spry_turns_ms": turns.left,
            "peer_turns_ms": turns.right, "images_per_second": 1e3 * int(batch) / turns.left_ms,
            "peer_images_per_second": 1e3 * int(batch) / turns.right_ms}


def against_loop(word, side, threads=1, rounds=7, seconds=20):
    """A row: gradients clipped example by example in one run, against `side`: "loop", a step for
    each example here; "torch", the same there; "plain", a run that clips nothing."""
    net, _, batch = word.partition(":")
    other = (torch(net, batch, threads, "private") if side == "torch"
             else private(net, batch, side, threads))
    turns = measure(private(net, batch, "ghost", threads), other, rounds, seconds)
    return {"name": f"{word} {side}", "threads": threads, "ratio": turns.ratio,
            "spry_ms": turns.left_ms, "peer_ms": turns.right_ms, "spry_turns_ms": turns.left,
            "peer_turns_ms": turns.right}


def rows_of(against, word, precision, how):
    """The rows of one network."""
    if against == "torch":
        return [against_torch(word, precision, *how)]
    if against == "private":
        return [against_loop(word, side, *how) for side in ("plain", "loop", "torch")]
    return [against_forward(word, mode, precision, *how) for mode in ("step", "biases")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("against", choices=sorted(NETS))
    parser.add_argument("nets", nargs="*", metavar="NET:BATCH")
    parser.add_argument("--precision", nargs="+", choices=("f32", "bf16"), default=["f32"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    how = (arguments.threads, arguments.rounds, arguments.seconds)
    interleave.describe_machine()
    try:
        for word in arguments.nets or NETS[arguments.against]:
            for precision in arguments.precision:
                for row in rows_of(arguments.against, word, precision, how):
                    print(f"{row['name']:28} {row['spry_ms']:9.2f} ms {row['peer_ms']:9.2f} ms "
                          f"{row['ratio']:6.2f}", flush=True)
    except inputs.Unavailable as missing:
        print(f"skipped: {missing}")
        return 6
    return 0


if __name__ == "__main__":
    sys.exit(main())
