#!/usr/bin/python3
"""Measures everything that Spry promises about speed, and says whether it holds.

    table.py [ROW ...] [--quick] [--markdown FILE] [--json FILE]

ROW is the name of a line, or what names start with ("gemm" for all of gemm-...); default: all.
Exit code 1 when a demand is missed or a line fails. A line that this machine cannot measure, for
want of an instruction set, a peer or data, is skipped and says why. tools/bench.sh installs and
builds what the lines need.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Callable

import attention_heads
import block_skim
import inputs
import interleave
import simulators
import sparse
import spatial
import train
import versus_explicit
import versus_onednn
import versus_ort
from report import print_lines, write_markdown

ROOT = os.path.dirname(inputs.HERE)
MODELS = os.path.join(ROOT, "build", "models")
PROGRAM = os.environ.get("SPRY_BINARY", os.path.join(ROOT, "build", "release", "spry"))
ACCURACY_MODELS = (("cifar10-resnet/resnet20", "imagenet"), ("cifar10-resnet/resnet32", "imagenet"),
                   ("cifar10-resnet/resnet56", "imagenet"),
                   ("cifar10-vit/vit_d128_postln", "cifar"))
NETWORKS = ("resnet18", "resnet50", "resnet101", "vgg16", "mobilenet_v2", "efficientnet_b0",
            "squeezenet1_1", "vit_s16", "bert_base_128", "bert_base_384")
# Activations of either kind of bytes: the peer has kernels of very different speed for them.
QUANTISED = {
    "s8": ("resnet18_qdq_s8", "resnet50_qdq_s8", "mobilenet_v2_qdq_s8", "vit_s16_qdq_s8"),
    "u8": ("resnet18_qdq", "resnet50_qdq", "mobilenet_v2_qdq", "vit_s16_qdq"),
}
POSITIONS = (128, 256, 512, 1024, 2048, 4096)
SHAPES = 40  # those that do most of the work of NETWORKS
VNNI = "avx512vnni"
FROM_MEMORY = 64 << 20  # bytes of operands that no cache holds from run to run

IS_GEMM = ("--kind", "gemm", "--pointwise")
IS_CONV = ("--kind", "conv")
PEAKS = {"f32": "f32", "bf16": "bf16", "u8s8": "s8"}  # names in the facts of bench/peak
ELEMENT_BYTES = {"f32": 4, "bf16": 2, "u8s8": 1}


class Skip(Exception):
    """A line cannot be measured here; the text says why."""


@dataclass
class Line:
    """One verdict. `figure` is what the demand is about: a ratio or a share."""

    name: str
    what: str
    ours: str
    theirs: str
    figure: str
    demand: str
    verdict: str  # met, MISSED, FAILED, skipped: WHY, reported
    rows: list = field(default_factory=list)  # raw, one per model or shape
    note: str = ""  # what else a reader should know


@dataclass
class Demand:
    """Bounds of a line: on the geometric mean, and on each of its rows."""

    mean: float = None
    each: float = None
    most: float = None  # the figure must not be above this
    needs: str = ""  # an instruction set; elsewhere figures are reported only

    def __str__(self):
        bounds = ((">= ", self.mean, ""), (">= ", self.each, " each"), ("<= ", self.most, ""))
        text = ", ".join(f"{sign}{bound}{of}" for sign, bound, of in bounds if bound is not None)
        return text + (f" ({self.needs})" if self.needs else "")


@dataclass
class Bench:
    """What all lines share."""

    quick: bool
    facts: dict  # of bench/peak: the kernels of this machine and their peaks

    @property
    def isas(self):
        """Instruction sets that demands may need and this process may use."""
        names = {"AMX": "amx", "AVX-512 BF16": "bf16", "AVX-512 VNNI": "vnni", "AVX-512": "avx512"}
        kernels = [text for key, text in self.facts.items() if key.endswith("_kernel")]
        return [isa for isa, word in names.items() if any(word in kernel for kernel in kernels)]

    def check(self, demand, mean, least):
        """The verdict on a geometric mean and the smallest of its parts."""
        if demand is None:
            return "reported"
        if demand.needs and demand.needs not in self.isas:
            return f"skipped: the demand is for {demand.needs}"
        met = ((demand.mean is None or mean >= demand.mean) and
               (demand.each is None or least >= demand.each) and
               (demand.most is None or mean <= demand.most))
        return "met" if met else "MISSED"

    def summarise(self, name, what, rows, demand, left="", right="", least_ms=None,
                  peer="oneDNN"):
        """The line of rows that hold a ratio each, and the times of both sides. `least_ms`, if
        given, says of a row how long it takes at the measured peak: that is the roof of ratios."""
        ratios = [row["ratio"] for row in rows if "ratio" in row]
        left_out = [row for row in rows if "ratio" not in row]
        if not ratios:
            raise Skip(left_out[0]["skipped"] if left_out else "nothing to measure")
        mean, least = interleave.geometric_mean(ratios), min(ratios)
        if left_out:
            what += f", {len(left_out)} skipped"
        line = Line(name, what, left or total(rows, "spry_ms"), right or total(rows, "peer_ms"),
                    f"{mean:.2f}, least {least:.2f}", str(demand or ""),
                    self.check(demand, mean, least), rows)
        if least_ms:
            put_roof(line, demand, least_ms, peer)
        return line

    def least_ms(self, dtype):
        """Of a row with a shape of that type: the time of its arithmetic at the measured peak of
        a core, or of reading what no cache holds."""
        peak = self.facts[PEAKS[dtype]]
        memory = self.facts["read_memory"]

        def of_row(row):
            shape = versus_onednn.Shape(row["shape"])
            read = shape.elements_read * ELEMENT_BYTES[dtype]
            arithmetic = shape.operations / peak / 1e6
            return max(arithmetic, read / memory / 1e6) if read > FROM_MEMORY else arithmetic
        return of_row

    def least_model_ms(self, dtype):
        """Of a row with a model: the time of all its multiplications and additions, those of
        products between activations too, at the measured peak of its threads."""
        peak = self.facts[PEAKS[dtype]]

        def of_row(row):
            network = row["name"].partition("_qdq")[0]
            operations = sum(shape.operations * shape.uses
                             for shape in versus_onednn.read_shapes([network]))
            return operations / (peak * row["threads"]) / 1e6
        return of_row


def put_roof(line, demand, least_ms, peer):
    """Notes what share of the peak the peer reaches, hence the largest ratio there could be; a
    missed demand above that says so."""
    roof = interleave.geometric_mean(row["peer_ms"] / least_ms(row)
                                     for row in line.rows if "ratio" in row)
    line.note = (f"{line.what}: {peer} reaches {1 / roof:.2f} of the measured peak, so that as many "
                 f"multiplications could reach {roof:.2f} at most, were all else free.")
    if line.verdict == "MISSED" and demand.mean is not None and demand.mean > roof:
        line.verdict = f"MISSED: roof {roof:.2f}"


def total(rows, key):
    """Milliseconds of all rows together."""
    return f"{sum(row[key] for row in rows if key in row):.1f} ms"


# ---- models against ONNX Runtime ----

def model_paths(names):
    paths = [os.path.join(MODELS, f"{name}.onnx") for name in names]
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise Skip(f"no {os.path.basename(missing[0])} (tools/models/make_models.py)")
    return paths


def measure_models(bench, names, precision, threads, isa=None):
    """Rows of the models, Spry against ONNX Runtime."""
    turns = ["--rounds", "5", "--seconds", "1"] if bench.quick else ["--seconds", "6"]
    arguments = versus_ort.parse_arguments(["--precision", precision, "--starts", "0", *turns])
    rows = []
    with forced_isa(isa):
        for path in model_paths(names):
            row = versus_ort.measure(arguments, path, threads)
            rows.append({"name": row["model"], "threads": threads, "ratio": row["ratio"],
                         "spry_ms": row["left"]["median_ms"], "peer_ms": row["right"]["median_ms"],
                         "spry_turns_ms": row["left"]["turns_ms"],
                         "peer_turns_ms": row["right"]["turns_ms"],
                         "versions": [row["left"]["version"], row["right"]["version"]]})
    return rows


class forced_isa:
    """SPRY_ISA for the programs that are started meanwhile."""

    def __init__(self, isa):
        self.isa = isa

    def __enter__(self):
        self.before = os.environ.get("SPRY_ISA")
        if self.isa:
            os.environ["SPRY_ISA"] = self.isa

    def __exit__(self, *_):
        if self.isa and self.before is None:
            del os.environ["SPRY_ISA"]
        elif self.isa:
            os.environ["SPRY_ISA"] = self.before


def models_line(name, what, names, precision, demand, isa=None, twin="", roof=None):
    """`roof`: the type whose peak bounds the ratios, if one does."""
    def measure(bench):
        needs_own(bench, demand, twin)
        for threads in thread_counts():
            rows = measure_models(bench, names, precision, threads, isa)
            yield bench.summarise(name, f"{what}, {threads} thread(s)", rows, demand,
                                  least_ms=bench.least_model_ms(roof) if roof else None,
                                  peer="ONNX Runtime")
    return measure


def int8_lines(sign, names):
    """The lines of QDQ files, both sides running the same ones: with AMX, and with VNNI alone."""
    name, what = f"int8-{sign}", f"four QDQ models, {sign} activations"
    vnni = f"{name}-vnni"
    yield name, models_line(name, what, names, "f32", Demand(mean=8, needs="AMX"), twin=vnni)
    yield vnni, models_line(vnni, f"{what}, {VNNI}", names, "f32",
                            Demand(mean=2.5, needs="AVX-512 VNNI"), isa=VNNI, roof="u8s8")


def needs_own(bench, demand, twin):
    """Skips a line that would be the same as its twin for lower instructions."""
    if twin and demand.needs not in bench.isas:
        raise Skip(f"no {demand.needs}: see {twin}")


def thread_counts():
    return [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]


def start_up(bench):
    """Loading and the first run, and the peak of memory, of ResNet-50."""
    arguments = versus_ort.parse_arguments(["--starts", "3" if bench.quick else "7", "--rounds",
                                            "1", "--warm-up", "1", "--seconds", "0"])
    for threads in thread_counts():
        row = versus_ort.measure(arguments, model_paths(["resnet50"])[0], threads)
        times = [row[side]["load_and_first_run_ms"] for side in ("left", "right")]
        memory = [row[side]["peak_rss_mb"] - row[side]["idle_rss_mb"] for side in ("left", "right")]
        for name, what, both, unit, most in (("start-up", "load and first run", times, "ms", 0.7),
                                             ("memory", "peak memory", memory, "MB", 0.8)):
            share = both[0] / both[1]
            demand = Demand(most=most)
            yield Line(name, f"ResNet-50, {what}, {threads} thread(s)", f"{both[0]:.0f} {unit}",
                       f"{both[1]:.0f} {unit}", f"{share:.2f}", str(demand),
                       bench.check(demand, share, share),
                       [{"name": f"resnet50 {what}", "threads": threads, "spry": both[0],
                         "peer": both[1]}])


# ---- single layers against oneDNN, and against stored patches ----

def layer_arguments(bench, dtype, demand, *more):
    turns = ["--seconds", "1"]
    if demand.each is not None:  # hangs on the one layer that was disturbed most
        turns += ["--rounds", "21"]
    elif bench.quick:
        turns = ["--rounds", "5", "--seconds", "0.3"]
    return versus_onednn.parse_arguments(["--dtype", dtype, "--limit", str(SHAPES), *turns, *more])


def needs_type(bench, dtype):
    if dtype == "bf16" and "bf16" not in bench.facts:
        raise Skip("no bf16 instructions")


def layers_line(name, what, dtype, options, demand, of=versus_onednn):
    def measure(bench):
        needs_type(bench, dtype)
        arguments = layer_arguments(bench, dtype, demand, *options)
        shapes = versus_onednn.choose_shapes(arguments)
        for threads in thread_counts() if of is versus_onednn and not bench.quick else [1]:
            rows = of.measure(arguments, shapes, threads)
            has_roof = of is versus_onednn and threads == 1
            yield bench.summarise(name, f"{what}, {threads} thread(s)", rows, demand,
                                  least_ms=bench.least_ms(dtype) if has_roof else None)
    return measure


def explicit_line(name, what, dtype, demand, isa=None, twin=""):
    # Two plans of one engine differ by little, so that the bound on each needs many turns.
    turns = ("--rounds", "11", "--seconds", "0.7")
    inner = layers_line(name, what, dtype, [*IS_CONV, *turns], demand, versus_explicit)

    def measure(bench):
        needs_own(bench, demand, twin)
        with forced_isa(isa):
            yield from inner(bench)
    return measure


def attention_line(name, dtype, demand):
    def measure(bench):
        needs_type(bench, dtype)
        attention = attention_module()
        arguments = argparse.Namespace(positions=POSITIONS, heads=12, size=64, threads=1,
                                       rounds=5 if bench.quick else 9, warm_up=1,
                                       programs=versus_onednn.PROGRAMS)
        rows = attention.measure(arguments, dtype)
        peak = bench.facts[PEAKS[dtype]]
        yield bench.summarise(name, f"attention {dtype}, {POSITIONS[0]} to {POSITIONS[-1]} "
                              "positions, 12 heads", rows, demand,
                              least_ms=lambda row: attention.operations(row["shape"]) / peak / 1e6)
    return measure


def attention_module():
    """bench/attention.py, where its programs were built."""
    for program in ("spry_attention", "onednn_attention"):
        if not os.path.exists(os.path.join(versus_onednn.PROGRAMS, program)):
            raise Skip(f"no {program} (libdnnl-dev)")
    import attention
    return attention


def attention_memory(bench):
    """How the peak of memory grows when the number of positions doubles twice."""
    del bench
    attention_module()
    peaks = []
    for positions in (1024, 2048, 4096):
        command = [os.path.join(versus_onednn.PROGRAMS, "spry_attention"), "--dtype", "f32"]
        with interleave.Peer("spry", command) as peer:
            peer.set_shape(f"{positions} {positions} 12 64")
            peer.run()
            peaks.append(peer.peak_rss_mb())
    growth = (peaks[2] - peaks[1]) / max(peaks[1] - peaks[0], 0.1)
    demand = Demand(most=2.5)
    yield Line("attention-memory", "growth of memory from 1024 to 2048 to 4096 positions "
               "(2: linear, 4: quadratic)", " ".join(f"{peak:.0f}" for peak in peaks) + " MB", "",
               f"{growth:.2f}", str(demand), "met" if growth <= demand.most else "MISSED")


# ---- share of the peak ----

def peak_facts():
    """What one core can do, as bench/peak measures it."""
    program = os.path.join(versus_onednn.PROGRAMS, "peak")
    if not os.path.exists(program):
        raise Skip("bench/peak was not built (cmake -DSPRY_BUILD_BENCH=ON)")
    return json.loads(subprocess.run([program, "--json"], check=True, capture_output=True,
                                     text=True).stdout)


def peak_line(name, what, dtype, options, keeps, demand):
    """The geometric mean of the shares that the shapes for which `keeps` holds reach."""
    def measure(bench):
        needs_type(bench, dtype)
        arguments = layer_arguments(bench, dtype, demand, *options)
        shapes = [shape for shape in versus_onednn.choose_shapes(arguments) if keeps(shape)]
        peak = peak_facts()[PEAKS[dtype]]
        rows = []
        with versus_onednn.start_spry(arguments, 1) as spry:
            for shape in shapes:
                row = {"shape": shape.line, "threads": 1}
                if not spry.set_shape(shape.line):
                    rows.append({**row, "skipped": spry.how})
                    continue
                milliseconds = interleave.measure_alone(spry, arguments.rounds, arguments.warm_up)
                gigaflops = versus_onednn.gigaflops(shape, milliseconds)
                rows.append({**row, "kernel": spry.how, "spry_ms": milliseconds,
                             "gigaflops": gigaflops, "ratio": gigaflops / peak})
        yield bench.summarise(name, what, rows, demand, right=f"{peak:.0f} G/s")
    return measure


def is_middle(shape):
    """A convolution of an image of 28 to 56 pixels a side."""
    return 28 <= shape.sizes[2] <= 56


# ---- accuracy ----

def accuracy(bench):
    """Top-1 on CIFAR-10 in bf16 against f32, in points."""
    places = [os.environ.get("SPRY_DATA", ""), os.path.join(ROOT, "..", "shared", "data"),
              os.path.join(ROOT, "..", "..", "shared", "data")]
    data = next((place for place in places if os.path.isdir(os.path.join(place, "cifar10"))), None)
    if data is None:
        raise Skip("no CIFAR-10 (SPRY_DATA)")
    demand = Demand(most=0.2)
    for model, recipe in ACCURACY_MODELS:
        tops = []
        for precision in ("f32", "bf16"):
            command = [PROGRAM, "evaluate", os.path.join(data, f"{model}.onnx"), "--data",
                       "cifar10:" + os.path.join(data, "cifar10", "test_batch.bin"),
                       "--preprocess", recipe, "--precision", precision, "--json", "--quiet"]
            if bench.quick:
                command += ["--limit", "2000"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip())
            tops.append(100 * json.loads(done.stdout)["top1"])
        points = abs(tops[1] - tops[0])
        yield Line("accuracy-bf16", f"{os.path.basename(model)} on CIFAR-10, top-1 in bf16 and f32",
                   f"{tops[1]:.2f} %", f"{tops[0]:.2f} %", f"{points:.2f} points", str(demand),
                   bench.check(demand, points, points))


# ---- quantizing ----

def quantize_seconds(model, method, rounds):
    """Of the whole step from one model in memory to another, at 4 bits, the least of some runs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PROGRAM, "quantize", os.path.join(MODELS, f"{model}.onnx"), "--output",
                   os.path.join(folder, "out.onnx"), "--weight-bits", "4", "--method", method,
                   "--threads", "2", "--no-bench", "--force", "--json", "--quiet"]
        seconds = []
        for _ in range(rounds):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip())
            seconds.append(json.loads(done.stdout)["seconds"])
    return min(seconds)


def squant(bench):
    """Time of SQuant on a whole network, and against rounding to the nearest."""
    for model, most in (("resnet18", 0.15), ("resnet50", 0.3)):
        model_paths([model])
        times = [quantize_seconds(model, method, 3 if bench.quick else 7)
                 for method in ("squant", "nearest")]
        rows = [{"name": model, "threads": 2, "spry_ms": 1e3 * times[0], "peer_ms": 1e3 * times[1]}]
        for what, figure, demand in ((f"SQuant on {model}, 4 bits, seconds", times[0],
                                      Demand(most=most)),
                                     (f"SQuant on {model}, times of nearest",
                                      times[0] / times[1], Demand(most=5))):
            yield Line("squant", what, f"{1e3 * times[0]:.0f} ms", f"{1e3 * times[1]:.0f} ms",
                       f"{figure:.2f}", str(demand), bench.check(demand, figure, figure), rows)


# ---- one row times many weights ----

WIDE = 4096


def write_product(path):
    """One row of WIDE numbers times WIDE x WIDE random weights."""
    try:
        import numpy
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise Skip(f"no {error.name} (python3-onnx)") from error
    weights = numpy.random.default_rng(0).standard_normal((WIDE, WIDE), numpy.float32)
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, WIDE])
             for name in "xy"]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "product", ports[:1], ports[1:],
                                   [onnx.numpy_helper.from_array(weights, "w")])
    opset = onnx.helper.make_opsetid("", 21)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def call_spry(*words):
    done = subprocess.run([PROGRAM, *words, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def few_bits(bench):
    """Weights of few bits against those of f32, which a product of one row does little but read."""
    kinds = (("8 bits", ("--weight-bits", "8"), Demand(mean=2.5, needs="AVX-512")),
             ("4 bits, groups of 32", ("--weight-bits", "4", "--group", "32"),
              Demand(mean=3.5, needs="AVX-512")))
    turns = 3 if bench.quick else 7
    with tempfile.TemporaryDirectory() as folder:
        float_path = os.path.join(folder, "f32.onnx")
        write_product(float_path)
        for what, options, demand in kinds:
            path = os.path.join(folder, "small.onnx")
            call_spry("quantize", float_path, "-o", path, "--method", "nearest", "--symmetric",
                      "--no-bench", "--force", "--json", *options)
            times = [[call_spry("bench", model, "--threads", "1", "--runs", "30",
                                "--json")["latency_ms"]["median"] for model in (float_path, path)]
                     for _ in range(turns)]
            ratio = sorted(before / after for before, after in times)[turns // 2]
            before, after = (sorted(side)[turns // 2] for side in zip(*times))
            yield Line("gemv", f"1 x {WIDE} x {WIDE}, weights of {what}, peer f32",
                       f"{after:.2f} ms", f"{before:.2f} ms", f"{ratio:.2f}", str(demand),
                       bench.check(demand, ratio, ratio),
                       [{"name": what, "threads": 1, "spry_ms": after, "peer_ms": before}])


# ---- training ----

def train_forward_line(name, what, mode, demand):
    """The time of a step as a multiple of its forward pass."""
    def measure(bench):
        rounds = 5 if bench.quick else 9
        rows = [train.against_forward(word, mode, rounds=rounds)
                for word in train.NETS["forward"]]
        yield bench.summarise(name, what, rows, demand)
    return measure


def train_torch_line(name, what, precision, demand):
    def measure(bench):
        needs_type(bench, precision)
        rounds = 5 if bench.quick else 9
        for threads in thread_counts():
            rows = [train.against_torch(word, precision, threads, rounds)
                    for word in train.NETS["torch"]]
            yield bench.summarise(name, f"{what}, {threads} thread(s)", rows, demand)
    return measure


def train_private_line(name, what, side, demand):
    """Gradients clipped one by one: many examples in one run against a run for each."""
    def measure(bench):
        rounds = 5 if bench.quick else 9
        for threads in thread_counts():
            rows = [train.against_loop(word, side, threads, rounds)
                    for word in train.NETS["private"]]
            yield bench.summarise(name, f"{what}, {threads} thread(s)", rows, demand)
    return measure


# ---- masks over pixels ----

SPATIAL = {100: Demand(mean=0.97), 50: Demand(mean=1.8), 30: Demand(mean=3), 10: Demand(mean=6)}
DEMANDED_PATCH = 8
LEAST_SKIM_ROUNDS = 5


def needs_spatial():
    if not os.path.exists(spatial.PROGRAM):
        raise Skip("bench/spatial was not built (cmake -DSPRY_BUILD_BENCH=ON)")


def spatial_line(name, precision):
    """A residual block that computes a part of its pixels, against all of them."""
    def measure(bench):
        needs_spatial()
        if precision == "bf16":
            needs_type(bench, precision)
        rows = spatial.block_rows(precision, 15 if bench.quick else 40)
        for percent, demand in SPATIAL.items():
            these = [row for row in rows if row["name"].endswith(f"_r{percent}")]
            main = [row for row in these if f"_s{DEMANDED_PATCH}_" in row["name"]]
            what = f"block {precision}, {percent} % of the pixels, patches of"
            yield bench.summarise(name, f"{what} {DEMANDED_PATCH}", main, demand)
            for row in these:
                if row not in main:
                    patch = row["name"].split("_")[1][1:]
                    yield bench.summarise(name, f"{what} {patch}", [row], None)
    return measure


def spatial_network(bench):
    """ResNet-50 in shape at half of the pixels, maskers included."""
    needs_spatial()
    for precision in ("f32", "bf16", "int8"):
        if precision == "bf16" and precision not in bench.facts:
            continue
        for row in spatial.network_rows(precision, 15 if bench.quick else 30):
            which = "in a disc" if row["name"].endswith("disc") else "random"
            yield bench.summarise("spatial-network", f"ResNet-50 in shape {precision}, patches "
                                  f"4-4-2-1, half of them, {which}, with maskers", [row],
                                  Demand(mean=1.5) if precision == "f32" else None)


# ---- zeros ----

def needs_sparse():
    if not os.path.exists(sparse.PROGRAM):
        raise Skip("bench/sparse was not built (cmake -DSPRY_BUILD_BENCH=ON)")


def sparse_points(bench):
    """Products with zeros against our dense kernel, at the demanded densities."""
    needs_sparse()
    sizes = sparse.SIZES[:2] if bench.quick else sparse.SIZES
    for name, least, rows in sparse.point_rows(sizes, 0.1 if bench.quick else 0.5):
        yield bench.summarise("sparse-gemm", f"zeros: {name}, {sizes[0]} to {sizes[-1]} cubed",
                              rows, Demand(each=least, needs="AVX-512"))


def sparse_grid(bench):
    """The runtime's choice, over all densities and some layers, is never slower than dense."""
    needs_sparse()
    seconds = 0.05 if bench.quick else 0.2
    shares = sparse.SHARES[::2] if bench.quick else sparse.SHARES
    for kind in ("weights", "panels"):
        rows = sparse.grid_rows(sparse.gemm(768), kind, seconds, shares)
        yield bench.summarise("sparse-grid", f"{len(rows)} densities of inputs and {kind}, 768 "
                              "cubed", rows, Demand(each=0.97))
    # Where nothing is skipped both sides are the same code, and differ by where memory lies.
    rows = [row for row in sparse.layer_rows(seconds) if row["provider"] == "sparse"]
    yield bench.summarise("sparse-grid", "layers of networks that skip zeros", rows,
                          Demand(each=0.97))


def sparse_peers(bench):
    """Weights of 70 to 95 % zeros against libraries for sparse products."""
    needs_sparse()
    for name in sparse.PEERS:
        if sparse.missing_peer(name):
            raise Skip(f"no {name} (libxsmm-dev, libgraphblas-dev)")
        rows = sparse.peer_rows(name, sparse.SIZES[:1 if bench.quick else 3], 7, 1)
        yield bench.summarise("sparse-peers", f"weights of 70 to 95 % zeros, {name}", rows,
                              Demand(mean=1.5))


def blocks_of_text(bench):
    """Encoders that drop blocks of tokens, in units of what the work that is left promises."""
    for row in block_skim.rows(LEAST_SKIM_ROUNDS if bench.quick else 2 * LEAST_SKIM_ROUNDS):
        yield bench.summarise("block-skim", f"4 layers as in BERT-base, 384 tokens, {row['name']} "
                              "from the second on, of the promised speed-up", [row], Demand(mean=0.85))


# ---- attention by heads ----

def needs_heads():
    if not os.path.exists(attention_heads.PROGRAM):
        raise Skip("bench/attention_heads was not built (cmake -DSPRY_BUILD_BENCH=ON)")


def heads_survey(bench):
    """Attention alone against attention with a survey, which may cost a quarter."""
    needs_heads()
    rows = [row for row in attention_heads.survey_rows(7 if bench.quick else 15)
            if int(row["name"]) >= 256]
    yield bench.summarise("heads-survey", "attention with a survey of its heads, 256 to 2048",
                          rows, Demand(mean=0.8), peer="attention alone")


def heads_policy(bench):
    """Attention of an encoder whose heads look at few keys, against all keys."""
    needs_heads()
    rows = attention_heads.policy_rows(3 if bench.quick else 7)
    yield bench.summarise("heads-policy", "attention of an encoder with windows and sinks by head, "
                          f"cosine {min(row['cosine'] for row in rows):.4f}", rows,
                          Demand(each=1.8), peer="attention to all keys")


# ---- simulators of hardware ----

def simulator_line(bench, name, what, row, figure, demand, theirs=""):
    """A verdict on a speed or a time of one run."""
    ours = f"{row['seconds']:.3g} s" if demand.most else f"{row['rate'] / 1e6:.2f} M/s"
    return Line(name, what, ours, theirs, f"{figure:.3g}", str(demand),
                bench.check(demand, figure, figure), [row])


def simulated_machines(bench):
    """Speeds of spry simulate on a core, and BookSim's of another machine."""
    name, turns = "simulate", 1 if bench.quick else 3
    for row in simulators.noc_rows(turns, 20000):
        yield simulator_line(bench, name, f"mesh {row['name']}, M flit-hops a second", row,
                             row["rate"] / 1e6, Demand(mean=4))
        yield simulator_line(bench, name, f"mesh {row['name']}, times BookSim 2 elsewhere", row,
                             row["cycles"] / row["booksim"], Demand(mean=10),
                             f"{row['booksim']} cycles/s")
    row = simulators.dram_row(turns, 100000)
    yield simulator_line(bench, name, f"{row['name']}, M channel-cycles a second", row,
                         row["rate"] / 1e6, Demand(mean=3))
    for level, most in (("fast", 0.2), ("cycle", 5)):
        row = simulators.array_row(turns, level)
        yield simulator_line(bench, name, f"{row['name']}, seconds", row, row["seconds"],
                             Demand(most=most))
        if level == "fast":
            yield simulator_line(bench, name, "layers a second in closed form, thousands", row,
                                 row["rate"] / 1e3, Demand(mean=10))
    for row in simulators.metro_rows(turns):
        yield simulator_line(bench, name, f"scheduling the traffic of {row['name']}, seconds", row,
                             row["seconds"], Demand(most=10))
    row = simulators.replay_row(turns)
    yield simulator_line(bench, name, "replay of a schedule, M flit-links a second", row,
                         row["rate"] / 1e6, Demand(mean=20))


# ---- the table ----

LAYERS_LOW = Demand(mean=1.05, each=0.8)
ROWS = {
    "f32": models_line("f32", "ten models f32", NETWORKS, "f32", Demand(mean=1.25, each=1.0)),
    "bf16": models_line("bf16", "ten models bf16, peer f32", NETWORKS, "bf16",
                        Demand(mean=4.5, needs="AMX")),
    "accuracy-bf16": accuracy,
    **{name: line for sign, names in QUANTISED.items() for name, line in int8_lines(sign, names)},
    "gemm-f32": layers_line("gemm-f32", "40 products f32", "f32", IS_GEMM, Demand(mean=1.0)),
    "gemm-bf16": layers_line("gemm-bf16", "40 products bf16", "bf16", IS_GEMM, Demand(mean=1.25)),
    "gemm-int8": layers_line("gemm-int8", "40 products u8 x s8", "u8s8", IS_GEMM,
                             Demand(mean=1.25)),
    "conv-f32": layers_line("conv-f32", "40 convolutions f32", "f32", IS_CONV,
                            Demand(mean=1.1, each=0.8)),
    "conv-bf16": layers_line("conv-bf16", "40 convolutions bf16", "bf16", IS_CONV, LAYERS_LOW),
    "conv-int8": layers_line("conv-int8", "40 convolutions u8 x s8", "u8s8", IS_CONV, LAYERS_LOW),
    "implicit-f32": explicit_line("implicit-f32", "implicit or explicit patches, f32", "f32",
                                  Demand(mean=1.05, each=0.95)),
    "implicit-int8": explicit_line("implicit-int8", "implicit or explicit patches, u8 x s8",
                                   "u8s8", Demand(mean=1.4, each=0.95, needs="AMX"),
                                   twin="implicit-int8-vnni"),
    "implicit-int8-vnni": explicit_line("implicit-int8-vnni", "implicit or explicit patches, "
                                        f"u8 x s8, {VNNI}", "u8s8", None, VNNI),
    "attention-f32": attention_line("attention-f32", "f32", Demand(mean=1.3)),
    "attention-bf16": attention_line("attention-bf16", "bf16", Demand(mean=1.3)),
    "attention-memory": attention_memory,
    "start-up": start_up,
    "train-step": train_forward_line("train-step", "forward and gradients of all weights, times "
                                     "of forward", "step", Demand(most=3.3)),
    "train-biases": train_forward_line("train-biases", "forward and gradients of biases, times "
                                       "of forward", "biases", Demand(most=2.2)),
    "train-torch": train_torch_line("train-torch", "a step in f32 against PyTorch", "f32",
                                    Demand(mean=1.3)),
    "train-torch-bf16": train_torch_line("train-torch-bf16", "a step in bf16, PyTorch in f32",
                                         "bf16", Demand(mean=3, needs="AVX-512 BF16")),
    "train-private": train_private_line("train-private", "gradients clipped one by one, batch 64, "
                                        "against a step for each", "loop", Demand(mean=3)),
    "train-private-torch": train_private_line("train-private-torch", "gradients clipped one by one, "
                                              "batch 64, against a step for each in PyTorch",
                                              "torch", Demand(mean=3)),
    "spatial-f32": spatial_line("spatial-f32", "f32"),
    "spatial-bf16": spatial_line("spatial-bf16", "bf16"),
    "spatial-int8": spatial_line("spatial-int8", "int8"),
    "spatial-network": spatial_network,
    "sparse-gemm": sparse_points,
    "sparse-grid": sparse_grid,
    "sparse-peers": sparse_peers,
    "block-skim": blocks_of_text,
    "heads-survey": heads_survey,
    "heads-policy": heads_policy,
    "simulate": simulated_machines,
    "squant": squant,
    "gemv": few_bits,
    "peak-f32": peak_line("peak-f32", "share of the peak, 40 products f32", "f32", IS_GEMM,
                          lambda shape: True, Demand(mean=0.8, needs="AVX-512")),
    "peak-bf16": peak_line("peak-bf16", "share of the peak, convolutions of 28 to 56 pixels, bf16",
                           "bf16", IS_CONV, is_middle, Demand(mean=0.6, needs="AMX")),
    "peak-int8": peak_line("peak-int8", "share of the peak, convolutions of 28 to 56 pixels, "
                           "u8 x s8", "u8s8", IS_CONV, is_middle, Demand(mean=0.6, needs="AMX")),
}


def measure_row(bench, name):
    """Lines of one row; what goes wrong becomes a line too."""
    lines = []
    try:
        for line in ROWS[name](bench):
            lines.append(line)
    except (Skip, inputs.Unavailable) as reason:
        lines.append(Line(name, "", "", "", "", "", f"skipped: {reason}"))
    except (interleave.PeerError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        text = str(error).splitlines()
        lines.append(Line(name, "", "", "", "", "", f"FAILED: {text[0] if text else error!r}"))
    return lines


def chosen(words):
    unknown = [word for word in words
               if not any(name == word or name.startswith(f"{word}-") for name in ROWS)]
    if unknown:
        raise SystemExit(f"table: no line is called '{unknown[0]}'; there are: {' '.join(ROWS)}")
    return [name for name in ROWS if not words or
            any(name == word or name.startswith(f"{word}-") for word in words)]


def main():
    parser = argparse.ArgumentParser(description="Measure all that Spry promises about speed.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="fewer turns, one thread for layers")
    parser.add_argument("--markdown", metavar="FILE", help="write the table and all raw rows")
    parser.add_argument("--json", metavar="FILE", help="write everything, every turn included")
    arguments = parser.parse_args()
    names = chosen(arguments.rows)
    machine = interleave.describe_machine()
    start = time.monotonic()
    try:
        bench = Bench(arguments.quick, peak_facts())
    except Skip as reason:
        print(f"table: {reason}", file=sys.stderr)
        return 6
    lines = []
    for name in names:
        print(f"{time.monotonic() - start:5.0f} s  {name}", file=sys.stderr, flush=True)
        lines += measure_row(bench, name)
    machine["minutes"] = round((time.monotonic() - start) / 60, 1)
    machine["mode"] = "quick" if arguments.quick else "full"
    print_lines(machine, bench.facts, lines)
    if arguments.markdown:
        write_markdown(arguments.markdown, machine, bench.facts, lines)
    if arguments.json:
        interleave.write_json(arguments.json, {"machine": machine, "peak": bench.facts,
                                               "lines": [vars(line) for line in lines]})
    bad = [line for line in lines if line.verdict.startswith(("MISSED", "FAILED"))]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
