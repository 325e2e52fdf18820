#!/usr/bin/env python3
"""Lengths and complexity: files, lines, functions (pmccabe counts)."""

import shutil
import subprocess
import sys

import source

FILE_AIM, FILE_MAX = 600, 1000
FUNCTION_MAX = 120
COMPLEXITY_MAX, COMPLEXITY_MAX_KERNEL = 25, 40
COLUMNS = 100


def check_file(path):
    lines = source.text(path).splitlines()
    if len(lines) > FILE_MAX:
        source.problem(path, FILE_MAX, f"{len(lines)} lines, {FILE_MAX} are the most",
                       "move one idea into its own file")
    elif len(lines) > FILE_AIM:
        print(f"{path}:{FILE_AIM}: warning: {len(lines)} lines, {FILE_AIM} are aimed at",
              file=sys.stderr)
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS and path.endswith((".c", ".h")):
            source.problem(path, number, f"{len(line)} columns, {COLUMNS} are the most",
                           "break the line")


def check_functions(paths):
    """pmccabe prints: modified complexity, complexity, statements, line, lines, file(line): name."""
    output = subprocess.run(["pmccabe", *paths], cwd=source.ROOT, capture_output=True,
                            text=True, check=True).stdout
    for row in output.splitlines():
        _, complexity, _, line, lines, place = row.split("\t", 5)
        path, _, name = place.partition("(")
        name = name.rpartition(" ")[2]
        most = COMPLEXITY_MAX_KERNEL if path.startswith("src/kernels/") else COMPLEXITY_MAX
        if int(lines) > FUNCTION_MAX:
            source.problem(path, line, f"{name} has {lines} lines, {FUNCTION_MAX} are the most",
                           "name its parts and make them functions")
        if int(complexity) > most:
            source.problem(path, line, f"{name} has complexity {complexity}, {most} is the most",
                           "split it, or replace branches by a table")


sources = source.files(r"^(src|include|tests|examples|bench)/.*\.[ch]$")
for name in sources + source.files(r"^(tools|tests|cmake|bench)/.*\.(py|sh|cmake|js)$",
                                   r"^CMakeLists\.txt$"):
    check_file(name)
if shutil.which("pmccabe") is None:
    source.problem("tools/lint/lengths.py", 1, "pmccabe is missing", "run tools/setup.sh lint")
elif sources:
    check_functions(sources)
source.finish()
