#!/usr/bin/python3
"""Checks that every kind of file `spry quantize` writes loads in ONNX Runtime and means the same.

    ort_quantized.py PATH ... [--spry PROGRAM] [--only TEXT] [--samples N]

PATH is a float model or a folder searched for .onnx files. Each is quantized by every method, in
every format, to several widths of weights, with and without groups, and with activations of 8 bits.
Exit code 0 when all agree (or ONNX Runtime is not installed, which is said), 1 when one does not.

Weights alone: ONNX Runtime runs the operators as the file has them, and the float results must be
equal to 1e-4 of their range. With activations the arithmetic is of integers, and what falls between
two codes may round either way, layer after layer: against the nearer of ONNX Runtime's two ways of
running the file (operators as they stand, or its integer kernels) the difference is at most 1 % of
the range (root of the mean square) and smaller than what quantization changes, or a tenth of that,
and the class of every input is one of those that ONNX Runtime puts within 3 % of its best.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

import ort_agreement
import inputs
import interleave

FORMATS = ("qdq", "qoperator", "matmulnbits")
BLOCKED = "ptq-sl"  # has blocks and orders of its own
TWINNED = "ptq4vit"  # chooses weights and activations together, for networks of matrix products
SAMPLED = ("gptq", BLOCKED, TWINNED)  # methods that look at samples
METHODS = ("nearest", "squant", "hqq", "gptq")
WIDTHS = (8, 4, 3, 2)
GROUP = 32
BATCH = 16
MOST_BYTES = 100e6  # of a model: the others would take minutes
MOST_NOISE = 0.01  # of the range
COST_SHARE = 0.1
CLASS_MARGIN = 0.03
REFUSED = (2, 4)  # exit codes: wrong usage, unsupported
TIME_LIMIT_S = 600


def variants(methods, formats):
    """(format, method, weight bits, activation bits, group, extra options) of all files."""
    for form in formats:
        for method in methods:
            if method in (BLOCKED, TWINNED):
                continue
            for bits in WIDTHS:
                if form != "qoperator":
                    yield form, method, bits, 0, 0, ()
                    yield form, method, bits, 0, GROUP, ()
                if form != "matmulnbits":
                    yield form, method, bits, 8, 0, ()
        if form != "qoperator":
            yield form, "nearest", 4, 0, GROUP, ("--symmetric",)
            yield form, "nearest", 8, 0, 0, ("--symmetric",)
        yield form, "squant", 8, 0 if form == "matmulnbits" else 8, 0, ("--compact",)
        if form == "qdq":
            yield form, "nearest", 8, 8, GROUP, ()
            yield form, "nearest", 4, 8, GROUP, ()
        if form == "qdq" and BLOCKED in methods:
            for order in ("off", "search"):
                for bits, activations in ((4, 0), (8, 8), (4, 8)):
                    yield (form, BLOCKED, bits, activations, 0,
                           ("--block-size", "8x8", "--reorder", order))
        if form == "qdq" and TWINNED in methods:
            for bits, activations in ((8, 8), (6, 6), (4, 4)):
                for ranges in ("best", "symmetric"):
                    yield form, TWINNED, bits, activations, 0, ("--grids", ranges)


def known_names(spry, model, option):
    """Names that an option of `spry quantize` takes, from its error message."""
    done = subprocess.run([spry, "quantize", model, "-o", "missing.onnx", option, "?"],
                          capture_output=True, text=True)
    words = done.stderr.replace(",", " ").replace("\n", " ").split()
    return [word for word in words if word.replace("-", "").isalnum()]


class Refused(Exception):
    """The model, or the combination of options, is said to make no sense."""


def quantize(arguments, model, made, variant, samples):
    """Writes one file. Raises Refused or RuntimeError with the first line of the error."""
    form, method, bits, activations, group, extra = variant
    command = [arguments.spry, "quantize", "-q", model, "-o", made, "--format", form,
               "--method", method, "--weight-bits", str(bits), "--group", str(group),
               "--activation-bits", str(activations), "--no-bench", "--force", *extra]
    if activations or method in SAMPLED:
        command += ["--calibrate", f"npz:{samples}", "--preprocess", "raw"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    if done.returncode not in (0, 1):
        told = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise (Refused if done.returncode in REFUSED else RuntimeError)(told)


def distance(expected, actual):
    """Root of the mean squared difference over all outputs, each as a share of its range."""
    total = count = 0
    for name, array in expected.items():
        wide = array.astype(np.float64)
        extent = np.ptp(wide) or 1.0
        total += np.sum(((wide - actual[name]) / extent) ** 2)
        count += wide.size
    return float(np.sqrt(total / max(count, 1)))


def judge_activations(references, actual, original):
    """(agrees, words) for a file that runs in integers, against the nearer of the references."""
    expected = min(references, key=lambda way: distance(way, actual))
    noise, cost = distance(expected, actual), distance(original, expected)
    same = min(ort_agreement.same_class_share(array, actual[name], CLASS_MARGIN * np.ptp(array))
               for name, array in expected.items())
    return (noise <= max(min(MOST_NOISE, cost), COST_SHARE * cost) and same == 1.0,
            f"{100 * noise:.4f} % of range, cost {100 * cost:.2f} %, class {100 * same:.1f} %")


def check_file(arguments, made, options, original, activations):
    """(agrees, words) of one quantized file."""
    ways = ("disabled", "all")
    directory = tempfile.mkdtemp(dir=os.path.dirname(made))
    try:
        references = [ort_agreement.run_ort(made, options, os.path.join(directory, way), way)
                      for way in ways]
    except RuntimeError as error:
        return False, f"ONNX Runtime: {str(error).splitlines()[0][:100]}"
    try:
        actual = ort_agreement.run_spry(arguments, made, options, os.path.join(directory, "spry"),
                                        references[0])
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)[:120]
    if activations:
        return judge_activations(references, actual, original)
    return ort_agreement.judge_float(references[0], actual)


def can_be_fed(arrays):
    """Calibration takes one f32 input whose first axis is the batch."""
    only = list(arrays.values())
    return len(only) == 1 and only[0].dtype == np.float32 and only[0].ndim > 1


def write_samples(arrays, path, description):
    """Calibration samples like the inputs, as an archive that `--calibrate npz:` reads."""
    array = next(iter(arrays.values()))
    shape = inputs.bind(description["inputs"][0]["shape"], BATCH)
    samples = np.resize(array, (BATCH, *shape[1:])) if len(shape) > 1 else array
    np.savez(path, x=samples.astype(np.float32), labels=np.zeros(len(samples), np.int64))


def check_model(arguments, model, forms, methods):
    """Rows (model, variant, verdict, words)."""
    name = os.path.basename(model)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        description = inputs.describe(model)
        arrays = ort_agreement.choose_inputs(model, description, BATCH)
        options = inputs.save_inputs(arrays, directory)
        samples = os.path.join(directory, "samples.npz")
        original = ort_agreement.run_ort(model, options, os.path.join(directory, "float"), "all")
        fed = can_be_fed(arrays)
        if fed:
            write_samples(arrays, samples, description)
        for variant in variants(methods, forms):
            form, method, bits, activations, group, extra = variant
            words = f"{form} {method} w{bits}a{activations} g{group} {' '.join(extra)}".strip()
            if (arguments.only and arguments.only not in words) or \
                    (not fed and (activations or method in SAMPLED)):
                continue
            made = os.path.join(directory, "made.onnx")
            try:
                quantize(arguments, model, made, variant, samples)
            except Refused as reason:
                rows.append((name, words, "refused", str(reason)[:120]))
                continue
            except RuntimeError as error:
                rows.append((name, words, "DISAGREES", str(error)[:120]))
                continue
            try:
                agrees, told = check_file(arguments, made, options, original, activations)
            except RuntimeError as error:
                agrees, told = False, str(error)[:120]
            if not agrees:
                print(f"{name} {words}: {told}", file=sys.stderr)
            rows.append((name, words, "agrees" if agrees else "DISAGREES", told))
    return rows


def summarise(rows):
    """One line per model and format: how many files, and the largest difference told."""
    table = []
    for key in sorted({(row[0], row[1].split()[0]) for row in rows}):
        of_key = [row for row in rows if (row[0], row[1].split()[0]) == key]
        count = {word: sum(row[2] == word for row in of_key)
                 for word in ("agrees", "DISAGREES", "refused")}
        table.append((*key, *count.values()))
    return table


def parse_arguments():
    parser = argparse.ArgumentParser(description="Compare quantized files with ONNX Runtime.")
    parser.add_argument("paths", nargs="+", metavar="PATH")
    parser.add_argument("--spry", default=os.path.join(ort_agreement.ROOT, "build", "release",
                                                       "spry"))
    parser.add_argument("--only", help="variants whose description holds this text")
    parser.add_argument("--all", action="store_true", help="print every file")
    arguments = parser.parse_args()
    arguments.threads = None
    return arguments


def main():
    arguments = parse_arguments()
    try:
        inputs.require_ort()
    except inputs.Unavailable:
        print("skipped: no onnxruntime-node")
        return 0
    models = [model for model in ort_agreement.find_models(arguments.paths, MOST_BYTES)
              if not ort_agreement.is_quantised(model)]
    known = {option: known_names(arguments.spry, models[0], option) if models else []
             for option in ("--format", "--method")}
    forms = [form for form in FORMATS if form in known["--format"]]
    methods = [method for method in (*METHODS, BLOCKED, TWINNED) if method in known["--method"]]
    rows = []
    for model in models:
        rows += check_model(arguments, model, forms, methods)
    if arguments.all:
        interleave.print_table(["model", "variant", "verdict", "difference"], rows)
    interleave.print_table(["model", "format", "agree", "disagree", "refused"], summarise(rows))
    wrong = sum(row[2] == "DISAGREES" for row in rows)
    refused = sum(row[2] == "refused" for row in rows)
    print(f"\n{len(rows)} files: {len(rows) - wrong - refused} agree, {wrong} disagree, "
          f"{refused} refused")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
