#!/usr/bin/python3
"""Is Spry's attention faster than oneDNN's product, softmax and product? A B A B, see README.md."""

import argparse
import contextlib
import os
import sys

import inputs
import interleave

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = os.path.join(ROOT, "build", "release", "bench")


def operations(shape):
    """Multiplications and additions of both products."""
    queries, keys, heads, size = (int(word) for word in shape.split())
    return 4 * queries * keys * heads * size


def gigaflops(shape, milliseconds):
    return operations(shape) / milliseconds / 1e6


def parse_arguments():
    parser = argparse.ArgumentParser(description="Time attention against oneDNN, A B A B.")
    parser.add_argument("positions", nargs="*", type=int, help="queries and keys")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--size", type=int, default=64, help="elements per head")
    parser.add_argument("--dtype", nargs="+", choices=("f32", "bf16"), default=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side")
    parser.add_argument("--warm-up", type=int, default=1, help="untimed runs before the turns")
    parser.add_argument("--programs", default=PROGRAMS, help="where the timed programs are")
    parser.add_argument("--require-each", type=float, default=0.0, metavar="RATIO")
    parser.add_argument("--json", metavar="FILE", help="write the raw rows")
    arguments = parser.parse_args()
    arguments.positions = arguments.positions or [128, 256, 512, 1024, 2048, 4096]
    return arguments


def measure(arguments, dtype):
    """Rows of one element type."""
    ours = [os.path.join(arguments.programs, "spry_attention"), "--dtype", dtype, "--threads",
            str(arguments.threads)]
    theirs = [os.path.join(arguments.programs, "onednn_attention"), "--dtype", dtype]
    for program in (ours[0], theirs[0]):
        if not os.path.exists(program):
            raise inputs.Unavailable(f"no program at '{program}' (cmake -DSPRY_BUILD_BENCH=ON)")
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    rows = []
    with contextlib.ExitStack() as stack:
        left = stack.enter_context(interleave.Peer("spry", ours))
        right = stack.enter_context(interleave.Peer("oneDNN", theirs, environment))
        for positions in arguments.positions:
            shape = f"{positions} {positions} {arguments.heads} {arguments.size}"
            if not all([left.set_shape(shape), right.set_shape(shape)]):
                continue
            turns = interleave.compare(left, right, arguments.rounds, arguments.warm_up)
            rows.append({"shape": shape, "dtype": dtype, "threads": arguments.threads,
                         "spry_ms": turns.left_ms, "peer_ms": turns.right_ms,
                         "ratio": turns.ratio, "spry_turns_ms": turns.left,
                         "peer_turns_ms": turns.right, "peer_version": right.facts["version"],
                         "spry_version": left.facts["version"], "kernel": left.facts["kernel"]})
    return rows


def format_row(row):
    return [row["shape"], row["dtype"], row["threads"], f"{row['spry_ms']:.3f}",
            f"{gigaflops(row['shape'], row['spry_ms']):.0f}", f"{row['peer_ms']:.3f}",
            f"{gigaflops(row['shape'], row['peer_ms']):.0f}", f"{row['ratio']:.2f}"]


def main():
    arguments = parse_arguments()
    machine = interleave.describe_machine()
    rows = []
    try:
        for dtype in arguments.dtype:
            rows += measure(arguments, dtype)
    except inputs.Unavailable as missing:
        print(f"skipped: {missing}")
        return 6
    peer = rows[0]["peer_version"] if rows else "oneDNN"
    print(f"{machine['cpu']}, {machine['cores_usable']} cores, load "
          f"{machine['load_average_at_start']} at start, {machine['date']}; {peer}; "
          f"{arguments.rounds} turns each\n")
    interleave.print_table(["queries keys heads size", "type", "threads", "Spry ms", "GFLOP/s",
                            "oneDNN ms", "GFLOP/s", "ratio"], [format_row(row) for row in rows])
    if arguments.json:
        interleave.write_json(arguments.json, {"machine": machine, "rows": rows})
    return 0 if all(row["ratio"] >= arguments.require_each for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
