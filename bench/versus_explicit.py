#!/usr/bin/python3
"""Times convolutions whose matrix of patches never exists against the same kernel that reads a
stored one (explicit im2col), taking turns A B A B.

    versus_explicit.py [NETWORK ...] [--dtype f32|bf16|u8s8] [--limit 40]

Options are those of versus_onednn.py. The left side plans as the product does (`auto`), the right
one is told to store the matrix first (`explicit`). Exit code 1 when --require-mean or
--require-each is missed, 6 when the program was not built.
"""

import sys

import inputs
import interleave
import versus_onednn

VISITS = 3


def start(arguments, way, threads):
    """One side: Spry, told how to plan."""
    return versus_onednn.start(way, arguments.spry or versus_onednn.SPRY, arguments,
                               ["--threads", str(threads), "--way", way], {})


def visit(arguments, ours, other, shape):
    """Turns of one shape, or why there are none."""
    if not (ours.set_shape(shape.line) and other.set_shape(shape.line)):
        return ours.how if not ours.has_shape else other.how
    return interleave.compare(ours, other, arguments.rounds, arguments.warm_up, arguments.seconds)


def measure(arguments, shapes, threads, visits=VISITS):
    """Rows of one thread count; depthwise layers and products have no patches to store. All shapes
    are visited several times: where their operands come to lie in memory, and what else the machine
    does just then, is not the same each time."""
    turns = {}
    rows = {}
    with start(arguments, "auto", threads) as ours, \
            start(arguments, "explicit", threads) as other:
        for shape in visits * shapes:
            row = rows.setdefault(shape.line, {"shape": shape.line, "threads": threads,
                                               "uses": shape.uses,
                                               "operations": shape.operations})
            found = visit(arguments, ours, other, shape)
            if isinstance(found, str):
                row["skipped"] = found
                continue
            turns.setdefault(shape.line, interleave.Comparison([], [])).add(found)
            row |= {"kernel": ours.how, "spry_version": ours.facts["version"]}
    for line, taken in turns.items():
        rows[line] |= {"spry_ms": taken.left_ms, "peer_ms": taken.right_ms, "ratio": taken.ratio,
                       "spry_turns_ms": taken.left, "peer_turns_ms": taken.right}
    return list(rows.values())


def main():
    arguments = versus_onednn.parse_arguments([*sys.argv[1:], "--kind", "conv"])
    machine = interleave.describe_machine()
    shapes = versus_onednn.choose_shapes(arguments)
    try:
        rows = [row for threads in arguments.threads
                for row in measure(arguments, shapes, threads)]
    except inputs.Unavailable as missing:
        print(f"skipped: {missing}")
        return 6
    print(f"{machine['cpu']}, {machine['cores_usable']} cores, load "
          f"{machine['load_average_at_start']} at start, {machine['date']}; {arguments.dtype}; "
          f"{arguments.rounds} turns each\n")
    interleave.print_table(["shape", "threads", "implicit ms", "GFLOP/s", "explicit ms", "GFLOP/s",
                            "ratio"], [versus_onednn.format_row(row) for row in rows])
    met = versus_onednn.check(arguments, rows)
    if arguments.json:
        interleave.write_json(arguments.json, {"machine": machine, "rows": rows})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
