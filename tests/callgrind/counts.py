#!/usr/bin/python3
"""Counts the instructions of ten kernels under callgrind and compares them with what was recorded.

    counts.py PROGRAM COMPILER [--record]

Time needs a quiet machine, instructions do not: the same program on the same input executes the
same ones. They depend on the compiler, so there is a file per COMPILER ("GNU-12.2.0") in counts/;
for another one the test is skipped. A rise by more than 3 % fails. Who means it records anew
(--record, or SPRY_UPDATE=1), who got faster too.
"""

import glob
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = ("generic", "avx2")  # what callgrind can execute
MOST = 1.03
SKIPPED = 77


def total(path):
    """Instructions of one dump."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(("totals:", "summary:")):
                return int(line.split()[1])
    raise RuntimeError(f"{path}: no total")


def count(program, level):
    """{kernel: instructions}: every call of `measured` ends with a dump of its own."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             "--toggle-collect=measured", "--dump-after=measured", program],
            capture_output=True, text=True, env={**os.environ, "SPRY_ISA": level})
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        names = done.stdout.split()
        dumps = [f"{out}.{number + 1}" for number in range(len(names))]
        if not all(map(os.path.exists, dumps)):
            raise RuntimeError(f"dumps are missing: {sorted(glob.glob(out + '*'))}")
        return {name: total(dump) for name, dump in zip(names, dumps)}


def read(path):
    """{(level, kernel): instructions}."""
    with open(path, encoding="utf-8") as lines:
        rows = [line.split() for line in lines if not line.startswith("#")]
    return {(level, kernel): int(number) for level, kernel, number in rows}


def write(path, found):
    with open(path, "w", encoding="utf-8") as file:
        file.write("# level kernel instructions; written by counts.py --record\n")
        for (level, kernel), number in found.items():
            file.write(f"{level} {kernel} {number}\n")


def compare(found, known):
    """Prints what changed; the kernels that got worse."""
    worse = []
    for key, number in found.items():
        before = known.get(key)
        if before is None:
            print(f"{' '.join(key)}: {number}, not recorded")
            worse.append(key)
            continue
        change = number / before
        if change > MOST:
            worse.append(key)
        if change > MOST or change < 1 / MOST:
            print(f"{' '.join(key)}: {number} instructions, recorded {before} "
                  f"({100 * (change - 1):+.1f} %)")
    return worse


def main():
    program, compiler = sys.argv[1:3]
    record = "--record" in sys.argv[3:] or os.environ.get("SPRY_UPDATE") == "1"
    path = os.path.join(HERE, "counts", f"{compiler}.txt")
    if not record and not os.path.exists(path):
        print(f"skipped: nothing is recorded for {compiler} (SPRY_UPDATE=1 records it)")
        return SKIPPED
    try:
        found = {(level, kernel): number for level in LEVELS
                 for kernel, number in count(program, level).items()}
    except FileNotFoundError:
        print("skipped: no valgrind")
        return SKIPPED
    if record:
        write(path, found)
        print(f"recorded {len(found)} counts in {path}")
        return 0
    worse = compare(found, read(path))
    if worse:
        print("more instructions than recorded; where that is meant: SPRY_UPDATE=1 ctest "
              "--test-dir build/release -R callgrind")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
