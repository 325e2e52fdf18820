#!/usr/bin/python3
"""What skipping zeros saves, against the best dense way of the same layer, and against libraries
with sparse products.

    sparse.py [--map FILE.svg] [--sizes N ...] [--seconds S] [--peers]

Without options: the demanded points and the break-even. --map measures a grid of densities and
draws it. Inputs have zeros number by number, weights number by number or by pieces of 128 columns
of one k (panels).
"""

import argparse
import json
import os
import subprocess
import sys

import interleave

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = os.path.join(os.path.dirname(HERE), "build", "release", "bench")
PROGRAM = os.path.join(PROGRAMS, "sparse")
PEERS = {"libxsmm": "libxsmm_sparse", "GraphBLAS": "graphblas_sparse"}
SIZES = (768, 1024, 2048, 4096)

# What is demanded, with the shares that are not zero of (inputs, weights, panels).
POINTS = {
    "inputs 80 %, panels 50 %": ((0.2, 1, 0.5), 2.5),
    "inputs 90 %": ((0.1, 1, 1), 3.0),
    "weights 90 %": ((1, 0.1, 1), 3.0),
    "inputs 95 %, panels 50 %": ((0.05, 1, 0.5), 6.0),
    "inputs 65 %": ((0.35, 1, 1), 1.0),
    "weights 65 %": ((1, 0.35, 1), 1.0),
}
SHARES = (1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
LAYERS = ("conv 1 64 56 56 64 3 3 1 1 1 1", "conv 1 64 56 56 256 1 1 1 0 1 1",
          "conv 1 256 14 14 256 3 3 1 1 1 1", "conv 1 1024 14 14 256 1 1 1 0 1 1",
          "conv 8 16 32 32 16 3 3 1 1 1 1", "conv 8 64 8 8 64 3 3 1 1 1 1",
          "gemm 128 3072 768", "gemm 384 768 768")
LANES = ("conv 1 16 32 32 16 3 3 1 1 1 1", "conv 1 32 16 16 32 3 3 1 1 1 1",
         "conv 1 64 8 8 64 3 3 1 1 1 1", "conv 1 64 56 56 64 3 3 1 1 1 1")
PEER_SHARES = (0.3, 0.2, 0.1, 0.05)


def gemm(size):
    return f"gemm {size} {size} {size}"


def measure(lines, seconds=0.2, rounds=5, clock="wall", lanes=False):
    """What bench/sparse says of each (shape, inputs, weights, panels)."""
    text = "".join(f"{shape} {inputs:g} {weights:g} {panels:g}\n"
                   for shape, inputs, weights, panels in lines)
    done = subprocess.run([PROGRAM, "--seconds", str(seconds), "--rounds", str(rounds),
                           "--clock", clock, "--lanes", "yes" if lanes else "no"],
                          input=text, check=True, capture_output=True, text=True)
    return [{**json.loads(line), "threads": 1} for line in done.stdout.splitlines()]


def point_rows(sizes, seconds, clock="wall"):
    """(name, demanded ratio, rows by size)."""
    for name, (shares, demand) in POINTS.items():
        yield name, demand, measure([(gemm(size), *shares) for size in sizes], seconds,
                                    clock=clock)


def grid_rows(shape, kind, seconds, shares=SHARES, clock="wall"):
    """All pairs of shares: of inputs and of `kind`, "weights" or "panels"."""
    def line(inputs, others):
        weights, panels = (others, 1) if kind == "weights" else (1, others)
        return shape, inputs, weights, panels

    return measure([line(i, w) for w in shares for i in shares], seconds, 3, clock)


def layer_rows(seconds, clock="wall"):
    """Layers of networks, weights without and with zeros, inputs as after a Relu and dense."""
    return measure([(shape, inputs, weights, 1) for shape in LAYERS
                    for inputs in (1, 0.5) for weights in (1, 0.5, 0.3, 0.1)], seconds, clock=clock)


def lane_rows(share, seconds, clock="wall"):
    """Convolutions of which filters keep that share of each 16 channels."""
    return measure([(shape, 1, share, 1) for shape in LANES], seconds, clock=clock, lanes=True)


def missing_peer(name):
    return not os.path.exists(os.path.join(PROGRAMS, PEERS[name]))


def peer_rows(name, sizes, rounds, seconds):
    """Weights of 70 to 95 % zeros, in turns with a library."""
    rows = []
    with interleave.Peer("Spry", [PROGRAM, "--serve", "yes"]) as ours, \
            interleave.Peer(name, [os.path.join(PROGRAMS, PEERS[name])]) as peer:
        for size in sizes:
            for share in PEER_SHARES:
                line = f"{gemm(size)} 1 {share:g} 1"
                for side in (ours, peer):
                    if not side.set_shape(line):
                        raise interleave.PeerError(f"{side.name}: {side.how}")
                turns = interleave.compare(ours, peer, rounds, 1, seconds)
                rows.append({"shape": line, "threads": 1, "spry_ms": turns.left_ms,
                             "peer_ms": turns.right_ms, "ratio": turns.ratio,
                             "spry_turns_ms": turns.left, "peer_turns_ms": turns.right,
                             "peer_version": peer.facts["version"]})
    return rows


# ---- the picture ----

CELL, LEFT, TOP, GAP = 46, 70, 60, 90
COLOURS = ((0.97, (200, 80, 60)), (1.0, (235, 235, 230)), (2.0, (180, 215, 190)),
           (4.0, (90, 170, 130)), (8.0, (20, 110, 90)), (32.0, (5, 50, 60)))


def colour(ratio):
    """Between neighbouring ones of COLOURS."""
    before = COLOURS[0]
    for at in COLOURS:
        if ratio <= at[0]:
            span = at[0] - before[0]
            share = (ratio - before[0]) / span if span > 0 else 1.0
            return tuple(round(a + (b - a) * max(share, 0.0)) for a, b in zip(before[1], at[1]))
        before = at
    return before[1]


def text_at(x, y, words, size=12, anchor="middle", fill="#333", more=""):
    return (f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{fill}"{more}>{words}</text>')


def draw_map(title, rows, kind, left):
    """The cells of one grid, beginning at `left`."""
    parts = [text_at(left + CELL * len(SHARES) / 2, 24, title, 15)]
    middle = TOP + CELL * len(SHARES) / 2
    parts.append(text_at(left + CELL * len(SHARES) / 2, TOP - 22, "inputs that are not zero, %"))
    parts.append(text_at(left - 44, middle, f"{kind} that are not zero, %",
                         more=f' transform="rotate(-90 {left - 44} {middle})"'))
    for i, share in enumerate(SHARES):
        parts.append(text_at(left + CELL * (i + 0.5), TOP - 6, f"{100 * share:g}"))
        parts.append(text_at(left - 8, TOP + CELL * (i + 0.6), f"{100 * share:g}", anchor="end"))
    for number, row in enumerate(rows):
        y, x = divmod(number, len(SHARES))
        shade = colour(row["ratio"])
        parts.append(f'<rect x="{left + CELL * x}" y="{TOP + CELL * y}" width="{CELL - 1}" '
                     f'height="{CELL - 1}" fill="rgb{shade}"/>')
        parts.append(text_at(left + CELL * (x + 0.5), TOP + CELL * (y + 0.6),
                             f"{row['ratio']:.2f}" if row["ratio"] < 10 else f"{row['ratio']:.1f}",
                             fill="#fff" if sum(shade) < 380 else "#222"))
    return parts


def write_svg(path, shape, grids):
    """One map per kind of zeros in the weights, side by side."""
    side = CELL * len(SHARES)
    width = LEFT + len(grids) * (side + GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + side + 20}" '
             'font-family="sans-serif">',
             f'<rect width="{width}" height="{TOP + side + 20}" fill="#fff"/>']
    for number, (kind, rows) in enumerate(grids.items()):
        parts += draw_map(f"times faster than dense: {shape}, zeros in {kind}", rows, kind,
                          LEFT + number * (side + GAP))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([*parts, "</svg>"]) + "\n")


def print_rows(rows):
    interleave.print_table(
        ["shape", "inputs", "weights", "panels", "way", "dense ms", "ms", "ratio", "foretold"],
        [[row["shape"], row["inputs"], row["weights"], row["panels"], row["way"] or "dense",
          f"{row['peer_ms']:.3f}", f"{row['spry_ms']:.3f}", f"{row['ratio']:.2f}",
          f"{row['foretold']:.2f}"] for row in rows])
    print()


def main():
    parser = argparse.ArgumentParser(description="Time layers with zeros against dense ones.")
    parser.add_argument("--map", metavar="FILE", help="measure a grid of 768 and draw it as SVG")
    parser.add_argument("--layers", action="store_true", help="layers of networks instead")
    parser.add_argument("--peers", action="store_true", help="against libxsmm and GraphBLAS")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES[:3])
    parser.add_argument("--seconds", type=float, default=0.2, help="of each line, at least")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="cpu: time of the thread, for a machine that is busy")
    arguments = parser.parse_args()
    if arguments.map:
        grids = {kind: grid_rows(gemm(768), kind, arguments.seconds, clock=arguments.clock)
                 for kind in ("weights", "panels")}
        write_svg(arguments.map, "768 x 768 x 768", grids)
        for kind, rows in grids.items():
            print(f"{kind}: least {min(row['ratio'] for row in rows):.3f}")
    elif arguments.layers:
        print_rows(layer_rows(arguments.seconds, arguments.clock))
    elif arguments.peers:
        for name in PEERS:
            if missing_peer(name):
                print(f"{name}: skipped, not built")
                continue
            rows = peer_rows(name, arguments.sizes, 7, 1)
            for row in rows:
                print(f"{name} {row['shape']}: {row['spry_ms']:.3f} ms, {row['peer_ms']:.3f} ms, "
                      f"{row['ratio']:.2f}")
            print(f"{name}: {interleave.geometric_mean(row['ratio'] for row in rows):.2f}")
    else:
        for name, demand, rows in point_rows(arguments.sizes, arguments.seconds,
                                             arguments.clock):
            print(f"{name}: at least {demand} wanted")
            print_rows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
