#!/usr/bin/python3
"""Checks that Spry and ONNX Runtime compute the same from the same file and inputs.

    ort_agreement.py PATH ... [--spry PROGRAM] [--below MEGABYTES] [--threads N]

PATH is a model or a folder searched for .onnx files. Inputs are seeded random numbers, or the
recorded ones where NAME_io.npz lies beside NAME.onnx. Float outputs must agree to 1e-4 of their
range. Exit code 0 when all agree (or ONNX Runtime is not installed, which is said), 1 when one
does not.

Quantised models are held against ONNX Runtime twice, running the operators as the file has them
and running its integer kernels, and the nearer counts: the two round differently, and in a deep
network one step of difference early becomes several at the end. 99.5 % of the values must lie
within two quantisation steps, and 99.5 % of the inputs get the same class, one of those that
ONNX Runtime puts within a step of its best.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import inputs
import interleave

FLOAT_TOLERANCE = 1e-4  # of the output's range
STEPS_TOLERANCE = 2.0
QUANTISED_AGREEMENT = 0.995  # share of values, and of classes
TIME_LIMIT_S = 600

FLOAT_BATCH = 3  # not 1, so that a lost batch stride shows
QUANTISED_BATCH = 32
LARGE_BYTES = 20e6  # from here on a batch of one, to keep the test short
QUANTISED_OPERATORS = (b"QuantizeLinear", b"QLinearConv", b"QLinearMatMul", b"ConvInteger",
                       b"MatMulInteger")


def is_quantised(model):
    """Whether a quantised operator's name occurs in the file."""
    with open(model, "rb") as file:
        content = file.read()
    return any(name in content for name in QUANTISED_OPERATORS)


def choose_inputs(model, description, batch):
    """The recorded inputs beside the model, or random ones."""
    recorded = f"{os.path.splitext(model)[0]}_io.npz"
    if os.path.exists(recorded):
        with np.load(recorded) as arrays:
            return {port["name"]: arrays[f"in__{port['name']}"] for port in description["inputs"]}
    return inputs.random_inputs(model, description, batch)


def run_ort(model, options, directory, optimization):
    """{output name: array} from ONNX Runtime."""
    names = inputs.run_ort(model, *options, "-o", directory, "--optimization", optimization)
    return {name: np.load(os.path.join(directory, f"{index}.npy"))
            for index, name in enumerate(names)}


def load_output(directory, name):
    """One output of `spry run`, which keeps only safe characters of a name in a file's name."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return np.load(os.path.join(directory, f"{safe}.npy"))


def run_spry(arguments, model, options, directory, names):
    """{output name: array} from Spry. Raises RuntimeError with the first line of its error."""
    command = [arguments.spry, "run", model, *options, "-o", directory]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise RuntimeError(lines[0])
    return {name: load_output(directory, name) for name in names}


def relative_difference(expected, actual):
    """Largest absolute difference as a share of the expected output's range."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if np.array_equal(expected, actual) else np.inf
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], actual[~finite], equal_nan=True):
        return np.inf
    if not finite.any():
        return 0.0
    wide, other = expected[finite].astype(np.float64), actual[finite].astype(np.float64)
    extent = np.ptp(wide) or np.abs(wide).max() or 1.0
    worst = np.abs(wide - other).max() / extent
    return worst if np.isfinite(worst) else np.inf


def quantisation_step(expected):
    """The gap between neighbouring values that occur: one step of the last quantiser."""
    values = np.unique(expected.astype(np.float64))
    gaps = np.diff(values)
    gaps = gaps[gaps > 1e-6 * np.ptp(values)] if len(gaps) else gaps
    return gaps.min() if len(gaps) else 1.0


def same_class_share(expected, actual, step):
    """Share of rows whose best class in `actual` is within a step of the best in `expected`."""
    rows = expected.reshape(len(expected), -1)
    picked = actual.reshape(len(actual), -1).argmax(axis=1)
    return float(np.mean(rows[np.arange(len(rows)), picked] >= rows.max(axis=1) - 1.001 * step))


def judge_float(expected, actual):
    """(agrees, words) over all outputs of a float model."""
    worst = max(relative_difference(expected[name], actual[name]) for name in expected)
    return worst <= FLOAT_TOLERANCE, f"{worst:.1e} of range"


def judge_quantised(expected, actual):
    """(agrees, words) over all outputs of a quantised model."""
    worst, within, share = 0.0, 1.0, 1.0
    for name, array in expected.items():
        if array.shape != actual[name].shape:
            return False, f"shape {actual[name].shape} instead of {array.shape}"
        step = quantisation_step(array)
        steps = np.abs(array.astype(np.float64) - actual[name]) / step
        worst = max(worst, steps.max())
        within = min(within, float(np.mean(steps <= STEPS_TOLERANCE + 1e-3)))
        share = min(share, same_class_share(array, actual[name], step))
    agrees = min(within, share) >= QUANTISED_AGREEMENT
    return agrees, (f"{worst:.1f} steps, {100 * within:.2f} % within 2, "
                    f"class {100 * share:.1f} %")


def judge(quantised, references, actual):
    """(agrees, words) against the nearest of the references."""
    verdicts = [(judge_quantised if quantised else judge_float)(expected, actual)
                for expected in references]
    return next((verdict for verdict in verdicts if verdict[0]), verdicts[0])


def check_model(arguments, model):
    """(verdict, words) of one model; the verdict is "agrees", "DISAGREES" or "skipped"."""
    quantised = is_quantised(model)
    batch = QUANTISED_BATCH if quantised else FLOAT_BATCH
    if os.path.getsize(model) > LARGE_BYTES:
        batch = 1
    with tempfile.TemporaryDirectory() as directory:
        try:
            arrays = choose_inputs(model, inputs.describe(model), batch)
            options = inputs.save_inputs(arrays, directory)
            references = [run_ort(model, options, os.path.join(directory, way), way)
                          for way in (("disabled", "all") if quantised else ("all",))]
        except RuntimeError as error:
            return "skipped", f"ONNX Runtime: {str(error).splitlines()[0][:90]}"
        try:
            actual = run_spry(arguments, model, options, os.path.join(directory, "spry"),
                              references[0])
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
            return "DISAGREES", str(error)[:120]
        agrees, words = judge(quantised, references, actual)
        return "agrees" if agrees else "DISAGREES", words


def find_models(paths, below):
    """Every .onnx file of the paths that is smaller than `below` bytes, in order of path."""
    found = []
    for path in paths:
        if os.path.isfile(path):
            found.append(path)
        for folder, _, names in os.walk(path):
            found += [os.path.join(folder, name) for name in names if name.endswith(".onnx")]
    return sorted(path for path in found if os.path.getsize(path) < below)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Compare Spry's results with ONNX Runtime's.")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--spry", default=os.path.join(ROOT, "build", "release", "spry"))
    parser.add_argument("--below", type=float, default=2000.0, metavar="MEGABYTES",
                        help="leave larger models out")
    parser.add_argument("--threads", type=int, help="threads of the Spry side")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    try:
        inputs.require_ort()
    except inputs.Unavailable:
        print("skipped: no onnxruntime-node")
        return 0
    rows = []
    for model in find_models(arguments.paths, arguments.below * 1e6):
        print(model, file=sys.stderr)
        rows.append((os.path.basename(model), *check_model(arguments, model)))
    interleave.print_table(["model", "verdict", "largest difference"], rows)
    count = {word: sum(row[1] == word for row in rows)
             for word in ("agrees", "DISAGREES", "skipped")}
    print(f"\n{len(rows)} models: {count['agrees']} agree, {count['DISAGREES']} disagree, "
          f"{count['skipped']} skipped")
    return 1 if count["DISAGREES"] else 0


if __name__ == "__main__":
    sys.exit(main())
