#!/usr/bin/env python3
"""Includes point down: a file in src/ includes its own layer and those below, by path from src/."""

import os
import re

import source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)


def ranks():
    rows = [line.split() for line in source.text("tools/lint/layers.txt").splitlines()
            if line and not line.startswith("#")]
    return {layer: rank for rank, row in enumerate(rows) for layer in row}


def check(path, rank):
    layer = path.split("/")[1]
    if layer not in rank:
        source.problem(path, 1, f"src/{layer} is no layer", "add it to tools/lint/layers.txt")
        return
    content = source.text(path)
    for match in INCLUDE.finditer(content):
        line, target = source.line_of(content, match.start()), match.group(1)
        if target.startswith("spry/"):
            continue
        if not os.path.isfile(os.path.join(source.ROOT, "src", target)):
            source.problem(path, line, f'"{target}" is no file below src/',
                           'write the path from src/, as in "base/status.h"')
        elif rank.get(target.split("/")[0], -1) > rank[layer]:
            source.problem(path, line, f'{layer} includes "{target}" of a higher layer',
                           "move what is shared down, or call through a table (docs/design.md)")


table = ranks()
for name in source.files(r"^src/[^/]+/.*\.[ch]$"):
    check(name, table)
for name in source.files(r"^include/.*\.h$", r"^examples/.*\.c$"):
    body = source.text(name)
    for found in INCLUDE.finditer(body):
        if not found.group(1).startswith("spry/"):
            source.problem(name, source.line_of(body, found.start()),
                           f'"{found.group(1)}" is not public', "include spry/*.h only")
source.finish()
