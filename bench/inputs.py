"""Seeded inputs for any model, written as .npy so that both sides of a comparison read the same.

What a model takes is asked of ONNX Runtime; free dimensions are bound here. Token ids, masks
and segments are recognised by name, because a random 64-bit number is a valid one of none.
"""

import json
import os
import subprocess
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ORT_RUN = os.path.join(HERE, "peers", "ort_run.mjs")
ORT_PACKAGE = os.path.join(HERE, "peers", "node_modules", "onnxruntime-node")

FREE_DIMENSION = 16  # for a free dimension that is not the batch: tokens, frames, nodes

# Substring of the input's name -> integers [low, high) that are valid for it.
INTEGER_RANGES = (("mask", 1, 2), ("segment", 0, 2), ("token_type", 0, 2))
OTHER_INTEGERS = (0, 100)

# Start of the model's file name -> uniform [low, high) of its images. Elsewhere values are
# drawn from the normal distribution, which suits mean/std normalisation.
IMAGE_RANGES = (("resnet8", 0.0, 255.0), ("lenet", 0.0, 1.0), ("squeezenet_cifar10", 0.0, 1.0),
                ("mobilenet_v", -1.0, 1.0))


class Unavailable(Exception):
    """A peer is not installed here."""


def require_ort():
    """Raises Unavailable when onnxruntime-node was not installed in bench/peers."""
    if not os.path.isdir(ORT_PACKAGE):
        raise Unavailable("no onnxruntime-node (cd bench/peers && npm ci --ignore-scripts)")


def run_ort(*arguments):
    """Runs ort_run.mjs and returns the JSON it prints. Raises RuntimeError with its message."""
    require_ort()
    done = subprocess.run(["node", ORT_RUN, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"ort_run.mjs ended with {done.returncode}")
    return json.loads(done.stdout)


def describe(model):
    """{"version", "inputs": [{"name", "type", "shape"}], "outputs": [...]} of a model."""
    return run_ort(model, "--describe")


def bind(shape, batch):
    """Numbers for the free dimensions, which come as strings or negative numbers. Those that are
    called as the first are as large."""
    free = [not isinstance(size, int) or size < 0 for size in shape]
    first = [axis == 0 or (isinstance(size, str) and size == shape[0])
             for axis, size in enumerate(shape)]
    return tuple((batch if first[axis] else FREE_DIMENSION) if free[axis] else size
                 for axis, size in enumerate(shape))


def image_range(model_name):
    """(low, high) of the model's row, or None."""
    return next(((low, high) for start, low, high in IMAGE_RANGES
                 if model_name.startswith(start)), None)


def integer_range(name):
    """(low, high) of the integers that are valid for an input of this name."""
    return next(((low, high) for part, low, high in INTEGER_RANGES if part in name.lower()),
                OTHER_INTEGERS)


def draw(random, model_name, name, dtype, shape):
    """One random array; the same numbers for the same generator state, anywhere."""
    if dtype.kind == "f":
        limits = image_range(model_name)
        values = random.uniform(*limits, shape) if limits else random.standard_normal(shape)
        return values.astype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(dtype)
    if dtype.itemsize == 1:
        full = np.iinfo(dtype)
        return random.integers(full.min, full.max + 1, shape).astype(dtype)
    return random.integers(*integer_range(name), shape, dtype=dtype)


def random_inputs(model, description, batch=1, seed=1):
    """{name: array} for a described model; seeded by the file's name, so runs can be repeated."""
    file_name = os.path.basename(model)
    random = np.random.default_rng([seed, zlib.crc32(file_name.encode())])
    return {port["name"]: draw(random, file_name, port["name"], np.dtype(port["type"]),
                               bind(port["shape"], batch))
            for port in description["inputs"]}


def save_inputs(arrays, directory):
    """Writes each array to a file and returns the command-line options that name them."""
    options = []
    for index, (name, array) in enumerate(arrays.items()):
        path = os.path.join(directory, f"input{index}.npy")
        np.save(path, np.asarray(array, order="C"))
        options += ["-i", f"{name}={path}"]
    return options


def save_raw_inputs(arrays, directory):
    """As save_inputs, as bare elements with type and shape in the option, for spry_runner."""
    options = []
    for index, (name, array) in enumerate(arrays.items()):
        path = os.path.join(directory, f"input{index}.raw")
        np.asarray(array, order="C").tofile(path)
        shape = ",".join(str(size) for size in array.shape)
        options += ["-i", f"{name}={array.dtype.name}:{shape}:{path}"]
    return options
