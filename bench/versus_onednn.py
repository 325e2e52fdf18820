#!/usr/bin/python3
"""Times single matrix products and convolutions against oneDNN, taking turns A B A B.

    versus_onednn.py [NETWORK ...] [--kind gemm|conv] [--dtype f32|bf16|u8s8] [--threads 1 2]

NETWORK names a file of bench/shapes/ (default: all). Each shape is measured once, however many
networks use it. Without a Spry program (--spry, spry_kernels where it was built), oneDNN is
measured alone. Exit code 1 when
--require-mean or --require-each is missed, 6 when a side is not installed.
"""

import argparse
import contextlib
import glob
import math
import os
import sys
from dataclasses import dataclass

import inputs
import interleave

ROOT = os.path.dirname(inputs.HERE)
SHAPES = os.path.join(inputs.HERE, "shapes")
PROGRAMS = os.path.join(ROOT, "build", "release", "bench")
SPRY = os.path.join(PROGRAMS, "spry_kernels")


@dataclass
class Shape:
    """One line of bench/shapes/, without its count."""

    line: str
    uses: int = 0  # over all networks read

    @property
    def kind(self):
        return self.line.split()[0]

    @property
    def sizes(self):
        return [int(word) for word in self.line.split()[1:]]

    @property
    def operations(self):
        """Multiplications and additions of one run."""
        if self.kind == "gemm":
            m, n, k = self.sizes
            return 2 * m * n * k
        batch, channels, height, width, filters, rows, columns, *rest = self.sizes
        stride, pad, dilation, groups = rest

        def extent(size, kernel):
            return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1

        outputs = batch * filters * extent(height, rows) * extent(width, columns)
        return 2 * outputs * (channels // groups) * rows * columns

    @property
    def elements_read(self):
        """Of both operands."""
        if self.kind == "gemm":
            m, n, k = self.sizes
            return m * k + k * n
        batch, channels, height, width, filters, rows, columns, *rest = self.sizes
        return channels * (batch * height * width + filters // rest[3] * rows * columns)

    def as_product(self):
        """The matrix product that a pointwise convolution is, else None."""
        if self.kind != "conv":
            return None
        batch, channels, height, width, filters, *window = self.sizes
        if window != [1, 1, 1, 0, 1, 1]:
            return None
        return f"gemm {batch * height * width} {filters} {channels}"


def read_shapes(networks):
    """All shapes of the networks, each once, in order of first use."""
    found = {}
    for network in networks:
        with open(os.path.join(SHAPES, f"{network}.txt"), encoding="utf-8") as lines:
            for text in lines:
                line, _, count = text.strip().rpartition(" ")
                found.setdefault(line, Shape(line)).uses += int(count)
    return list(found.values())


def add_pointwise(shapes):
    """The products among the shapes, and those that pointwise convolutions are."""
    products = {shape.line: shape for shape in shapes if shape.kind == "gemm"}
    for shape in shapes:
        line = shape.as_product()
        if line:
            products.setdefault(line, Shape(line)).uses += shape.uses
    return list(products.values())


def choose_shapes(arguments):
    """Shapes of the wanted kind; with --limit, those that do most of the networks' work."""
    shapes = read_shapes(arguments.networks)
    if arguments.pointwise:
        shapes = add_pointwise(shapes)
    shapes = [shape for shape in shapes if arguments.kind in (None, shape.kind)]
    if arguments.limit:
        by_work = sorted(shapes, key=lambda shape: -shape.operations * shape.uses)
        kept = {shape.line for shape in by_work[:arguments.limit]}
        shapes = [shape for shape in shapes if shape.line in kept]
    return shapes


def start_onednn(arguments, threads):
    """oneDNN's side; its OpenMP takes the number of threads from the environment."""
    return start("oneDNN", arguments.onednn, arguments, [], {"OMP_NUM_THREADS": str(threads)})


def start_spry(arguments, threads):
    """Spry's side."""
    return start("Spry", arguments.spry, arguments, ["--threads", str(threads)], {})


def start(name, program, arguments, options, environment):
    """Starts a program that is given shapes."""
    if not os.path.exists(program):
        raise inputs.Unavailable(f"no {name} program at '{program}' (cmake -DSPRY_BUILD_BENCH=ON)")
    command = [program, "--dtype", arguments.dtype, "--layout", arguments.layout, *options]
    return interleave.Peer(name, command, environment)


def gigaflops(shape, milliseconds):
    return shape.operations / milliseconds / 1e6


def measure(arguments, shapes, threads):
    """Rows of one thread count: both sides, or oneDNN alone."""
    rows = []
    with contextlib.ExitStack() as stack:
        peer = stack.enter_context(start_onednn(arguments, threads))
        ours = None
        if arguments.spry:
            ours = stack.enter_context(start_spry(arguments, threads))
        for shape in shapes:
            row = {"shape": shape.line, "threads": threads, "uses": shape.uses,
                   "operations": shape.operations, "peer_version": peer.facts["version"]}
            sides = [side for side in (ours, peer) if side]
            if not all([side.set_shape(shape.line) for side in sides]):
                rows.append({**row, "skipped": "; ".join(
                    f"{side.name}: {side.how}" for side in sides if not side.has_shape)})
                continue
            if ours:
                turns = interleave.compare(ours, peer, arguments.rounds, arguments.warm_up,
                                           arguments.seconds)
                row |= {"spry_ms": turns.left_ms, "peer_ms": turns.right_ms,
                        "ratio": turns.ratio, "spry_turns_ms": turns.left,
                        "peer_turns_ms": turns.right, "spry_version": ours.facts["version"],
                        "kernel": ours.how}
            else:
                row["peer_ms"] = interleave.measure_alone(peer, arguments.rounds,
                                                          arguments.warm_up)
            rows.append(row)
    return rows


def format_row(row):
    """Cells of one row; what was not measured stays empty."""
    def cells(key):
        if key not in row:
            return ["", ""]
        return [f"{row[key]:.4f}", f"{gigaflops(Shape(row['shape']), row[key]):.0f}"]

    ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
    verdict = "skipped" if row.get("skipped") else ratio
    return [row["shape"], row["threads"], *cells("spry_ms"), *cells("peer_ms"), verdict]


def check(arguments, rows):
    """Prints the geometric mean per thread count; False when a required ratio is missed."""
    met = True
    for threads in arguments.threads:
        ratios = [row["ratio"] for row in rows if row["threads"] == threads and "ratio" in row]
        if not ratios:
            continue
        mean = interleave.geometric_mean(ratios)
        print(f"{threads} thread(s): geometric mean {mean:.2f}, lowest {min(ratios):.2f}")
        met = met and mean >= arguments.require_mean and min(ratios) >= arguments.require_each
    return met


def parse_arguments(words=None):
    names = sorted(os.path.splitext(os.path.basename(path))[0]
                   for path in glob.glob(os.path.join(SHAPES, "*.txt")))
    parser = argparse.ArgumentParser(description="Time kernels against oneDNN, A B A B.")
    parser.add_argument("networks", nargs="*", choices=[*names, []], metavar="NETWORK")
    parser.add_argument("--kind", choices=("gemm", "conv"))
    parser.add_argument("--pointwise", action="store_true",
                        help="products only, pointwise convolutions among them")
    parser.add_argument("--limit", type=int, metavar="N",
                        help="only the N shapes that do most of the networks' work")
    parser.add_argument("--dtype", choices=("f32", "bf16", "u8s8"), default="f32")
    parser.add_argument("--layout", choices=("any", "nhwc", "nchw"), default="any",
                        help="of oneDNN's images; any: as it prefers")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=11, help="turns of each side")
    parser.add_argument("--warm-up", type=int, default=3, help="untimed runs before the turns")
    parser.add_argument("--onednn", default=os.path.join(PROGRAMS, "onednn_bench"))
    parser.add_argument("--seconds", type=float, default=math.inf,
                        help="for the turns of one shape; a few are taken always")
    parser.add_argument("--spry", metavar="PROGRAM", default=SPRY if os.path.exists(SPRY) else None,
                        help="a program that answers the same lines")
    parser.add_argument("--json", metavar="FILE", help="write the raw rows")
    parser.add_argument("--require-mean", type=float, default=0.0, metavar="RATIO")
    parser.add_argument("--require-each", type=float, default=0.0, metavar="RATIO")
    arguments = parser.parse_args(words)
    arguments.networks = arguments.networks or names
    return arguments


def main():
    arguments = parse_arguments()
    machine = interleave.describe_machine()
    shapes = choose_shapes(arguments)
    rows = []
    try:
        for threads in arguments.threads:
            rows += measure(arguments, shapes, threads)
    except inputs.Unavailable as missing:
        print(f"skipped: {missing}")
        return 6
    peer = rows[0]["peer_version"] if rows else "oneDNN"
    print(f"{machine['cpu']}, {machine['cores_usable']} cores, load "
          f"{machine['load_average_at_start']} at start, {machine['date']}; {peer}, "
          f"{arguments.dtype}, layout {arguments.layout}; {arguments.rounds} turns each\n")
    interleave.print_table(["shape", "threads", "Spry ms", "GFLOP/s", "oneDNN ms", "GFLOP/s",
                            "ratio"], [format_row(row) for row in rows])
    met = check(arguments, rows)
    if arguments.json:
        interleave.write_json(arguments.json, {"machine": machine, "rows": rows})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
