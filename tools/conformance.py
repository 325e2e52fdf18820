#!/usr/bin/env python3
"""Summarise conformance tables, check the promised counts, and write docs/conformance.md.

    conformance.py [--write FILE] SOURCE=TABLE.tsv...

SOURCE is "debian" (libonnx-testdata 1.12, opset up to 17) or "current" (onnx 1.14.1 up to opset 19,
and newer node tests up to opset 25). Exits 1 when a test gave a wrong answer, failed otherwise than by
refusal, or crashed, or when fewer pass than promised.
"""
import collections
import sys

# (source, set): least number of tests that pass
PROMISED = {
    ("debian", "node"): 830,
    ("current", "node"): 1050,
    ("current", "node-new"): 150,
}

# Tests whose data contradict their own model, and how that was found.
DEFECTIVE = {
    "test_adam_multiple": "the expected values need epsilon = 0.01; the model leaves epsilon out, "
                          "and its default is 0.000001 (with 0.01 the numbers agree)",
}

TITLES = {
    "debian": "Debian's libonnx-testdata 1.12 (opset up to 17)",
    "current": "ONNX 1.14.1 (opset up to 19) and newer node tests (opset up to 25)",
}

VERDICTS = ("pass", "unsupported", "defective", "wrong", "error", "crash")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as table:
        rows = [line.rstrip("\n").split("\t") for line in table]
    for row in rows:
        if row[2] == "wrong" and row[1] in DEFECTIVE:
            row[2:] = ["defective", DEFECTIVE[row[1]]]
    return rows


def count(rows):
    counts = collections.OrderedDict()
    for set_name, _, verdict, *_ in rows:
        counts.setdefault(set_name, collections.Counter())[verdict] += 1
    return counts


def failures(source, rows):
    """Sentences about everything that breaks a promise."""
    found = [f"{source}/{r[0]}/{r[1]}: {r[2]}: {r[3] if len(r) > 3 else ''}"
             for r in rows if r[2] in ("wrong", "error", "crash")]
    counts = count(rows)
    for (wanted_source, set_name), least in PROMISED.items():
        passed = counts.get(set_name, {}).get("pass", 0)
        if wanted_source == source and passed < least:
            found.append(f"{source}/{set_name}: {passed} pass, {least} are promised")
    return found


def table_lines(counts):
    lines = ["| set | " + " | ".join(VERDICTS) + " |", "| --- |" + " ---: |" * len(VERDICTS)]
    for set_name, verdicts in counts.items():
        lines.append(f"| {set_name} | " + " | ".join(str(verdicts[v]) for v in VERDICTS) + " |")
    return lines


def page(tables):
    lines = ["# Conformance", "",
             "What ONNX's own backend tests say of Spry. Written by `tests/onnx/run.sh` with",
             "`UPDATE=1`; `make test` runs the same tests and fails on any wrong answer, error or",
             "crash. Unsupported tests are refused before anything runs, with an error that names the",
             "operator. Tests of random operators compare types and shapes only.", ""]
    for source, rows in tables:
        lines += ["## " + TITLES[source], ""] + table_lines(count(rows)) + [""]
        for verdict, title in (("unsupported", "Refused:"),
                               ("defective", "Contradict their own model:")):
            listed = [r for r in rows if r[2] == verdict]
            if listed:
                lines += [title, "", "| test | why |", "| --- | --- |"]
                lines += [f"| {r[0]}/{r[1]} | {r[3].replace('|', ' ')} |" for r in listed] + [""]
    return "\n".join(lines).rstrip() + "\n"


def main():
    arguments = sys.argv[1:]
    target = None
    if arguments[:1] == ["--write"]:
        target = arguments[1]
        arguments = arguments[2:]
    tables = [(source, read(path)) for source, _, path in (a.partition("=") for a in arguments)]
    broken = []
    for source, rows in tables:
        print("\n".join([TITLES[source]] + table_lines(count(rows))))
        broken += failures(source, rows)
    if target:
        with open(target, "w", encoding="utf-8") as out:
            out.write(page(tables))
    print("\n".join(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
