#!/usr/bin/python3
"""Times whole models against ONNX Runtime, taking turns A B A B.

    versus_ort.py [MODEL ...] [--threads 1 2] [--rounds 15] [--json FILE]
                  [--left spry|baseline|ort] [--right ort|baseline|spry]

Without MODEL: the large models of tools/models in build/models, float or --quantised. `ratio`
is how many times faster the left side is. `baseline` is another build of the runner (--baseline
PATH), for before-and-after measurements. Exit code 1 when a model fails, or --require-mean or
--require-each is missed; 6 when a side is not installed.
"""

import argparse
import glob
import math
import os
import statistics
import sys
import tempfile

import inputs
import interleave

ROOT = os.path.dirname(inputs.HERE)
ORT_BENCH = os.path.join(inputs.HERE, "peers", "ort_bench.mjs")
RUNNER = os.path.join(ROOT, "build", "release", "bench", "spry_runner")
START_FACTS = ("load_ms", "load_and_first_run_ms", "idle_rss_mb", "peak_rss_mb")


def start(side, arguments, model, arrays, directory, threads):
    """Starts one side on a model, with inputs written to a directory."""
    if side == "ort":
        inputs.require_ort()
        command = ["node", ORT_BENCH, model, *inputs.save_inputs(arrays, directory)]
    else:
        runner = arguments.spry if side == "spry" else arguments.baseline
        if not runner or not os.path.exists(runner):
            raise inputs.Unavailable(f"no {side} runner at '{runner}' "
                                     "(cmake -DSPRY_BUILD_BENCH=ON)")
        command = [runner, model, "--precision", arguments.precision,
                   *inputs.save_raw_inputs(arrays, directory)]
    return interleave.Peer(side, [*command, "--threads", str(threads)])


def measure_start(arguments, start_side):
    """Facts of either side, each the median over as many starts as asked for, A B A B."""
    facts = {arguments.left: [], arguments.right: []}
    for _ in range(arguments.starts):
        for side in (arguments.left, arguments.right):
            with start_side(side) as peer:
                facts[side].append(peer.facts)
    return [{**facts[side][0], **{key: statistics.median(fact[key] for fact in facts[side])
                                  for key in START_FACTS}}
            for side in (arguments.left, arguments.right)]


def of_side(side, arguments, model):
    """The file that a side runs: ONNX Runtime may be given the float form of a _qdq file."""
    if side == "ort" and arguments.float_peer:
        return model.replace("_qdq_s8", "").replace("_qdq", "")
    return model


def measure(arguments, model, threads):
    """One row of results."""
    arrays = inputs.random_inputs(model, inputs.describe(model), arguments.batch)
    with tempfile.TemporaryDirectory() as directory:
        def start_side(side):
            return start(side, arguments, of_side(side, arguments, model), arrays, directory,
                         threads)

        facts = measure_start(arguments, start_side) if arguments.starts else None
        with start_side(arguments.left) as left, start_side(arguments.right) as right:
            left_facts, right_facts = facts or (left.facts, right.facts)
            turns = interleave.compare(left, right, arguments.rounds, arguments.warm_up,
                                       arguments.seconds)
    return {
        "model": os.path.splitext(os.path.basename(model))[0],
        "threads": threads,
        "ratio": turns.ratio,
        "left": {"median_ms": turns.left_ms, "turns_ms": turns.left, **left_facts},
        "right": {"median_ms": turns.right_ms, "turns_ms": turns.right, **right_facts},
    }


def measure_all(arguments, models):
    """(rows, names of models that a side could not run)."""
    rows, failed = [], []
    for threads in arguments.threads:
        for model in models:
            print(f"{model}, {threads} thread(s)", file=sys.stderr)
            try:
                rows.append(measure(arguments, model, threads))
            except (interleave.PeerError, RuntimeError) as error:
                failed.append(f"{model}, {threads} thread(s): {error}")
    return rows, failed


def print_latency(rows, left, right):
    """`spread` of the noisier side: large where the machine was not quiet."""
    def cells(row):
        noise = max(interleave.spread(row[side]["turns_ms"]) for side in ("left", "right"))
        return [row["model"], row["threads"], f"{row['left']['median_ms']:.3f}",
                f"{row['right']['median_ms']:.3f}", f"{row['ratio']:.2f}", f"{100 * noise:.0f} %"]

    interleave.print_table(["model", "threads", f"{left} ms", f"{right} ms", "ratio", "spread"],
                           [cells(row) for row in rows])


def print_start_up(rows, left, right):
    """Loading and the first run; memory is the peak above that of the idle process."""
    def cells(side):
        used = side["peak_rss_mb"] - side["idle_rss_mb"]
        return [f"{side['load_and_first_run_ms']:.0f}", f"{used:.0f}"]

    interleave.print_table(
        ["start-up of", "threads", f"{left} ms", f"{left} MB", f"{right} ms", f"{right} MB"],
        [[row["model"], row["threads"], *cells(row["left"]), *cells(row["right"])]
         for row in rows])


def report(arguments, machine, rows):
    """The conditions, then both tables."""
    print(f"{machine['cpu']}, {machine['cores_usable']} cores, load "
          f"{machine['load_average_at_start']} at start, {machine['date']}; "
          f"left {rows[0]['left']['version']}, right {rows[0]['right']['version']}; "
          f"{arguments.rounds} turns and {arguments.starts} starts each, "
          f"{arguments.warm_up} warm-up runs\n")
    print_latency(rows, arguments.left, arguments.right)
    print()
    print_start_up(rows, arguments.left, arguments.right)
    print()


def check(arguments, rows):
    """Prints the geometric mean per thread count; False when a required ratio is missed."""
    met = True
    for threads in arguments.threads:
        ratios = [row["ratio"] for row in rows if row["threads"] == threads]
        if not ratios:
            continue
        mean = interleave.geometric_mean(ratios)
        print(f"{threads} thread(s): geometric mean {mean:.2f}, lowest {min(ratios):.2f}")
        met = met and mean >= arguments.require_mean and min(ratios) >= arguments.require_each
    return met


def parse_arguments(words=None):
    parser = argparse.ArgumentParser(description="Time models against ONNX Runtime, A B A B.")
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--quantised", action="store_true",
                        help="without MODEL, take the quantised models instead of the float ones")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--batch", type=int, default=1, help="size of a free first dimension")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=math.inf,
                        help="for the turns of one model; a few are taken always")
    parser.add_argument("--starts", type=int, default=3,
                        help="starts of each side before; 0: only the one that is timed")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed runs before the turns")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16", "int8"),
                        help="of the Spry side; ONNX Runtime runs the file as it is")
    parser.add_argument("--float-peer", action="store_true",
                        help="ONNX Runtime runs the float form of quantised files")
    sides = ("spry", "baseline", "ort")
    parser.add_argument("--left", choices=sides, default="spry")
    parser.add_argument("--right", choices=sides, default="ort")
    parser.add_argument("--spry", default=RUNNER)
    parser.add_argument("--baseline", help="another spry_runner")
    parser.add_argument("--json", metavar="FILE", help="write the raw rows")
    parser.add_argument("--require-mean", type=float, default=0.0, metavar="RATIO")
    parser.add_argument("--require-each", type=float, default=0.0, metavar="RATIO")
    return parser.parse_args(words)


def default_models(quantised):
    """The large generated models: the float ones, or those in QDQ form."""
    paths = sorted(glob.glob(os.path.join(ROOT, "build", "models", "*.onnx")))
    return [path for path in paths if not os.path.basename(path).startswith("small_")
            and ("_qdq" in os.path.basename(path)) == quantised]


def main():
    arguments = parse_arguments()
    models = arguments.models or default_models(arguments.quantised)
    if not models:
        print("versus_ort: no models; run 'make models' or name some", file=sys.stderr)
        return 6
    machine = interleave.describe_machine()
    try:
        rows, failed = measure_all(arguments, models)
    except inputs.Unavailable as missing:
        print(f"skipped: {missing}")
        return 6
    if rows:
        report(arguments, machine, rows)
    for text in failed:
        print(f"failed: {text}")
    met = check(arguments, rows)
    if arguments.json:
        interleave.write_json(arguments.json,
                              {"machine": machine, "rows": rows, "failed": failed})
    return 0 if met and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
