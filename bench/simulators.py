#!/usr/bin/python3
"""How fast the simulators of hardware are, in seconds of one core; `spry simulate -v` says so of itself.

    simulators.py [--quick]

The mesh is set beside BookSim 2, with the cycles a second that it reached on one core of an x86-64 server, under
the same loads: not this machine, so the ratio is rough, and far from the demand.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time

import inputs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SPRY = os.environ.get("SPRY_BINARY", os.path.join(ROOT, "build", "release", "spry"))
MODELS = os.path.join(ROOT, "build", "models")
# Mesh, rate, BookSim's cycles a second: uniform traffic, packets of one flit, four channels.
LOADS = (("8x8", 0.1, 8200), ("8x8", 0.3, 2400), ("4x4", 0.3, 25000))
NETWORKS = ("resnet50", "mobilenet_v2", "squeezenet1_1", "bert_base_128")


def simulate(*words, pattern=None, as_json=True):
    """The JSON document or the text, the groups of `pattern` in what -v says, and the seconds of the whole process."""
    start = time.monotonic()
    done = subprocess.run([SPRY, "simulate", *words, "-v"] + ["--json"] * as_json, check=True, text=True,
                          capture_output=True)
    seconds = time.monotonic() - start
    said = re.search(pattern, done.stderr) if pattern else None
    if pattern and not said:
        raise RuntimeError(f"spry simulate {words[0]} does not say how fast it was")
    told = json.loads(done.stdout) if as_json else done.stdout
    return told, [float(g) for g in said.groups()] if said else [], seconds


def model(name):
    path = os.path.join(MODELS, f"{name}.onnx")
    if not os.path.exists(path):
        raise inputs.Unavailable(f"no {path} (tools/models/make_models.py build/models)")
    return path


def best(turns, measure):
    """The least disturbed of some turns: times only ever get longer."""
    return max((measure() for _ in range(turns)), key=lambda row: row["rate"])


def noc_rows(turns, cycles):
    """Flit-hops and cycles a second; the latter beside BookSim's."""
    for mesh, load, booksim in LOADS:
        side = mesh[0]

        def measure():
            told, said, _ = simulate(
                "noc", "--set", f"interconnect.width={side}", "--set", f"interconnect.height={side}",
                "--rate", str(load), "--cycles", str(cycles), pattern=r"at ([\d.]+) M flit-hops/s")
            point = told["points"][0]
            return {"name": f"{mesh} at {load}", "rate": said[0] * 1e6, "booksim": booksim,
                    "cycles": said[0] * 1e6 * point["cycles"] / point["flit_hops"]}
        yield best(turns, measure)


def dram_row(turns, requests):
    """Cycles a second of one saturated channel."""
    def measure():
        _, said, _ = simulate("dram", "--traffic", "random", "--requests", str(requests),
                              pattern=r"at ([\d.]+) M channel-cycles/s", as_json=False)
        return {"name": "DDR4-2400, random reads", "rate": said[0] * 1e6}
    return best(turns, measure)


def array_row(turns, level):
    """Layers a second and seconds of ResNet-50 on a systolic array."""
    path = model("resnet50")

    def measure():
        _, said, seconds = simulate("tpu", path, "--level", level,
                                    pattern=r"(\d+) layers in ([\d.]+) s")
        return {"name": f"ResNet-50, {level}", "rate": said[0] / max(said[1], 1e-6),
                "seconds": said[1], "process": seconds}
    return best(turns, measure)


def metro_rows(turns):
    """Seconds to schedule each network on one thread."""
    for name in NETWORKS:
        path = model(name)

        def measure():
            _, said, _ = simulate("metro", path, "--threads", "1", pattern=r"scheduled in ([\d.]+) s")
            return {"name": name, "rate": 1.0 / max(said[0], 1e-3), "seconds": said[0]}
        yield best(turns, measure)


def replay_row(turns):
    """Flits times links a second of a schedule that is read back."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "schedule.json")
        simulate("metro", model("resnet50"), "--generations", "0", "--schedule", path)

        def measure():
            _, said, _ = simulate("metro", path, pattern=r"replayed at ([\d.]+) M flit-links/s")
            return {"name": "ResNet-50's schedule", "rate": said[0] * 1e6}
        return best(turns, measure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    turns = 1 if parser.parse_args().quick else 3
    for row in noc_rows(turns, 20000):
        print(f"mesh {row['name']}: {row['rate'] / 1e6:.1f} M flit-hops/s, {row['cycles']:.0f} cycles/s, "
              f"{row['cycles'] / row['booksim']:.1f} times BookSim's {row['booksim']}")
    print(f"memory: {dram_row(turns, 100000)['rate'] / 1e6:.2f} M channel-cycles/s")
    for level in ("fast", "cycle"):
        row = array_row(turns, level)
        print(f"array, {level}: {row['rate']:.0f} layers/s, ResNet-50 in {row['seconds']:.4f} s")
    for row in metro_rows(turns):
        print(f"scheduling {row['name']}: {row['seconds']:.2f} s")
    print(f"replay: {replay_row(turns)['rate'] / 1e6:.1f} M flit-links/s")


if __name__ == "__main__":
    main()
