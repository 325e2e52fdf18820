#!/usr/bin/python3
"""Attention that filters its keys against attention to all keys: rows for bench/table.py.

    filtering.py

One query per head over many cached keys (bench/decode_attention), and as many queries as keys
(bench/prefill_attention). Dense is the quicker of our own kernels. One thread.
"""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "build", "release", "bench")
PROGRAMS = tuple(os.path.join(FOLDER, name) for name in ("decode_attention", "prefill_attention"))


def table_of(command):
    """The rows of a printed table, as numbers."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")]
             for line in done.stdout.splitlines()]
    return [[float(cell) for cell in line] for line in lines[2:]]


def decode_rows(keys, heads):
    """Rows by share kept, a tenth and a quarter: one per number of keys."""
    rows = {0.1: [], 0.25: []}
    for count in keys:
        for n, _, kept, _, blocked, dense, filtered, ratio, _, cosine in table_of(
                [PROGRAMS[0], "--heads", str(heads), str(count)]):
            share = 0.1 if kept < 0.17 else 0.25
            rows[share].append({"name": f"{n:.0f} keys", "ratio": ratio, "cosine": cosine,
                                "peer_ms": min(blocked, dense), "spry_ms": filtered})
    return rows


def prefill_rows(counts, keep):
    """A row per number of queries, f32 against f32."""
    return [{"name": f"{n:.0f} queries", "ratio": ratio, "peer_ms": dense, "spry_ms": filtered}
            for n, _, dense, _, filtered, _, ratio, _ in table_of(
                [PROGRAMS[1], "--keep", str(keep), *map(str, counts)])]


if __name__ == "__main__":
    for part in (*decode_rows((4096, 32768), 8).values(), prefill_rows((512, 1024), 0.2)):
        for row in part:
            print(row["name"], f"{row['ratio']:.2f}")
