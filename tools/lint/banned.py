#!/usr/bin/env python3
"""Banned calls, from the table banned.txt; comments and literals do not count."""

import re

import source


def rules():
    for row in source.text("tools/lint/banned.txt").splitlines():
        if row and not row.startswith("#"):
            # The remedy is last: where a call is allowed may itself contain a bar.
            names, _, rest = row.partition(" | ")
            allowed, _, remedy = rest.rpartition("| ")
            allowed = allowed.strip()
            # Not the member of a struct (x->free, x.free) and not part of a longer name.
            call = re.compile(r"(?<![\w.])(?<!->)(%s)\s*\(" % "|".join(names.split()))
            yield call, re.compile(allowed) if allowed else None, remedy.strip()


table = list(rules())
for path in source.files(r"^(src|include|tests|examples|bench)/.*\.[ch]$"):
    content = source.code(path)
    for pattern, allowed_in, advice in table:
        if allowed_in is not None and allowed_in.search(path):
            continue
        for match in pattern.finditer(content):
            source.problem(path, source.line_of(content, match.start()),
                           f"{match.group(1)} is banned here", advice)
source.finish()
