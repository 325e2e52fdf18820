#!/usr/bin/env python3
"""Turn families.tsv into fonts.tsv: find the faces on this machine, drop a few, draw the split.

No step looks at a trained model. A face is dropped when it lacks one of the 36 characters, or when
its 0 and O, or its 1 and I, brought to one height, cover each other so well that no reader could
tell them apart without their neighbours. Lineages are ranked by a seeded hash; the first TEST of
them are the test split, the next VALIDATION the validation split.
"""
import hashlib
import os
import subprocess
import sys

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image

import render

SEED = "spry-glyphs-1"
TEST = 0.25
VALIDATION = 0.10
TWINS = {"0O": 0.78, "1I": 0.88}    # intersection over union from which the pair counts as the same
STYLES = set("""
    regular book roman sans sansbook mono din medium light semibold demibold bold sansbold
    italic oblique bolditalic boldoblique semibolditalic demibolditalic condensed condensedbold
    10regular 10bold 10italic 10bolditalic 10oblique 12regular 12bold 12italic
    """.split())
HERE = os.path.dirname(os.path.abspath(__file__))


def read_families():
    with open(os.path.join(HERE, "families.tsv"), encoding="utf-8") as stream:
        for line in stream:
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


def package_files(package):
    """Font files of an installed package, sorted; links left out so that no face counts twice."""
    command = ["dpkg", "-L", package]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = sorted(n for n in listing.splitlines() if n.lower().endswith((".ttf", ".otf")))
    return [name for name in names if not os.path.islink(name)]


def package_version(package):
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def names_of(path):
    """Family, style in lower case without separators, and whether all classes are mapped."""
    with TTFont(path, lazy=True) as font:
        names = font["name"]
        family = names.getDebugName(16) or names.getDebugName(1) or ""
        style = names.getDebugName(17) or names.getDebugName(2) or ""
        mapped = font.getBestCmap() or {}
    style = "".join(c for c in style.lower() if c.isalnum())
    return family, style, all(ord(c) in mapped for c in render.CLASSES)


def outline(path, character):
    """Glyph brought to a height of 48, proportions kept: boolean [48,96], ink centred."""
    sheet, _, _ = render.draw_sheet(path, character)
    ink = sheet.crop(sheet.getbbox())
    width = max(1, min(96, round(ink.width * 48 / ink.height)))
    ink = np.asarray(ink.resize((width, 48), Image.Resampling.BILINEAR)) > 127
    start = (96 - width) // 2
    board = np.zeros((48, 96), bool)
    board[:, start:start + width] = ink
    return board


def look_alike(path):
    """The twins that a reader could not tell apart, with their overlap; None when all differ."""
    for pair, limit in TWINS.items():
        first, second = (outline(path, c) for c in pair)
        overlap = (first & second).sum() / (first | second).sum()
        marked = first[22:26, 46:50].any() != second[22:26, 46:50].any()    # dotted or slashed zero
        if overlap >= limit and not marked:
            return f"{pair} {overlap:.3f}"
    return None


def split_of_lineages(lineages):
    def rank(name):
        return hashlib.sha256(f"{SEED}/{name}".encode()).hexdigest()
    order = sorted(lineages, key=rank)
    test = round(TEST * len(order))
    validation = test + round(VALIDATION * len(order))
    return {name: "test" if i < test else "validation" if i < validation else "train"
            for i, name in enumerate(order)}


def main():
    rows, seen = [], set()
    for lineage, package, family in read_families():
        found = 0
        for path in package_files(package):
            name, style, complete = names_of(path)
            if name != family or style not in STYLES or not complete or (family, style) in seen:
                continue
            seen.add((family, style))
            twins = look_alike(path)
            if twins:
                print(f"dropped {os.path.basename(path)}: {twins}", file=sys.stderr)
                continue
            rows.append((package, package_version(package), path, lineage))
            found += 1
        if not found:
            print(f"no face left of {family} ({package})", file=sys.stderr)
    splits = split_of_lineages({row[3] for row in rows})
    with open(render.FONTS_TSV, "w", encoding="utf-8") as stream:
        stream.write("# Written by pick_fonts.py: package, version, file, lineage, split.\n")
        for row in rows:
            stream.write("\t".join((*row, splits[row[3]])) + "\n")
    for split in ("train", "validation", "test"):
        chosen = [row for row in rows if splits[row[3]] == split]
        print(f"{split}: {len(chosen)} faces, {len({row[3] for row in chosen})} lineages")


if __name__ == "__main__":
    main()
