#!/bin/bash
# docs/limits.md has the numbers of src/base/limits.h: all of them, and no others.
set -euo pipefail
python3 - "$SPRY_SOURCE_DIR" <<'PY'
import re, sys
root = sys.argv[1]
units = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
with open(f"{root}/src/base/limits.h", encoding="utf-8") as file:
    header = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S).replace("INT32_MAX", "2147483647")
found = re.findall(r"\bLIMIT_(\w+) (?:= )?([^,\n}]+)", header)
code = {name: eval(re.sub(r"\((?:u?int64_t|size_t)\)", "", text)) for name, text in found}
with open(f"{root}/docs/limits.md", encoding="utf-8") as file:
    rows = re.findall(r"^\| `LIMIT_(\w+)` \| ([\d,]+) ?(\w*) \|", file.read(), re.M)
page = {name: int(number.replace(",", "")) * units[unit] for name, number, unit in rows}
for name in sorted(code.keys() | page.keys()):
    if code.get(name) != page.get(name):
        print(f"LIMIT_{name}: {code.get(name)} in src/base/limits.h, {page.get(name)} in docs/limits.md")
sys.exit(code != page or len(code) < 20)
PY
