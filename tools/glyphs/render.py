#!/usr/bin/env python3
"""Draw the glyph task: 32x32 grey pictures of 0-9 and A-Z from the faces in fonts.tsv.

Everything that varies is drawn from a generator seeded by (seed, face, class, sample number), so a
picture does not depend on which others are drawn, or in which order.

    render.py set --split train --seed 1 --per-face 12 -o train.npz     every face, every class
    render.py set --split test  --seed 1 --per-class 50 -o test.npz     balanced over lineages
    render.py set --split train validation --per-face 1 --clean -o clean.npz   ink on black alone
    render.py png --split test  --seed 1 --face 0 --class-name A -o a.png
"""
import argparse
import csv
import hashlib
import math
import os
import zipfile
from collections import namedtuple
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SIDE = 32          # pixels of a picture
CANVAS = 256       # pixels of the sheet that a glyph is drawn on before it is shrunk
EM = 120           # size a glyph is drawn at: 3 to 6 times what it ends as, so shrinking smooths
ROOM = SIDE - 2    # what a turned glyph may occupy
FONTS_TSV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fonts.tsv")

Face = namedtuple("Face", "package version file lineage split")


def read_faces(splits, path=FONTS_TSV):
    """The rows of fonts.tsv of those splits, in file order."""
    with open(path, encoding="utf-8", newline="") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        faces = [Face(*row) for row in csv.reader(lines, delimiter="\t")]
    return [face for face in faces if face.split in splits]


@lru_cache(maxsize=4096)
def draw_sheet(path, character):
    """One glyph, white on black, its ink centred on a CANVAS x CANVAS sheet; also its ink size."""
    font = ImageFont.truetype(path, EM, layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    sheet = Image.new("L", (CANVAS, CANVAS), 0)
    x = CANVAS / 2 - (left + right) / 2
    y = CANVAS / 2 - (top + bottom) / 2
    ImageDraw.Draw(sheet).text((round(x), round(y)), character, fill=255, font=font, anchor="ls")
    return sheet, right - left, bottom - top


@lru_cache(maxsize=4096)
def cap_height(path):
    """Ink height of H at EM: the length that a face's sizes are measured by."""
    return draw_sheet(path, "H")[2]


def sample_generator(seed, face, label, index):
    key = f"{seed}/{face.package}/{os.path.basename(face.file)}/{CLASSES[label]}/{index}"
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def place(face, label, random):
    """Ink coverage in [0,1], shape [SIDE,SIDE]: size, stretch, turn and shift drawn from random."""
    sheet, width, height = draw_sheet(face.file, CLASSES[label])
    angle = float(np.clip(random.normal(0.0, 5.0), -12.0, 12.0))
    scale = random.uniform(15.0, 25.0) / cap_height(face.file)
    stretch = math.exp(random.uniform(-0.04, 0.04))
    turn = math.radians(abs(angle))
    wide = width * math.cos(turn) + height * math.sin(turn)
    high = height * math.cos(turn) + width * math.sin(turn)
    scale_x = min(scale * stretch, ROOM / wide)
    scale_y = min(scale / stretch, ROOM / high)
    slack_x = min((SIDE - wide * scale_x) / 2, 4.0)
    slack_y = min((SIDE - high * scale_y) / 2, 4.0)
    shift_x = random.uniform(-slack_x, slack_x)
    shift_y = random.uniform(-slack_y, slack_y)
    sheet = sheet.rotate(angle, resample=Image.Resampling.BICUBIC)
    half_x = SIDE / 2 / scale_x
    half_y = SIDE / 2 / scale_y
    centre_x = CANVAS / 2 - shift_x / scale_x
    centre_y = CANVAS / 2 - shift_y / scale_y
    box = (centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y)
    return resample(sheet, box)


def resample(sheet, box):
    """Shrink a box of the sheet, which may reach past its border, to SIDE x SIDE."""
    border = CANVAS // 2
    padded = Image.new("L", (CANVAS + 2 * border, CANVAS + 2 * border), 0)
    padded.paste(sheet, (border, border))
    moved = tuple(value + border for value in box)
    small = padded.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=moved)
    return np.asarray(small, dtype=np.float64) / 255.0


def blur(picture, sigma):
    """Separable Gaussian of radius 2, borders repeated."""
    taps = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        pad = [(2, 2) if a == axis else (0, 0) for a in (0, 1)]
        wide = np.pad(picture, pad, mode="edge")
        picture = sum(t * np.take(wide, range(i, i + SIDE), axis) for i, t in enumerate(taps))
    return picture


def render(face, label, seed, index):
    """One picture, uint8 [SIDE,SIDE]: ink on paper, either may be the lighter."""
    random = sample_generator(seed, face, label, index)
    coverage = place(face, label, random)
    sigma = random.uniform(0.0, 0.8)
    if sigma > 0.3:
        coverage = blur(coverage, sigma)
    dark = random.uniform(0.0, 90.0)
    light = random.uniform(dark + 90.0, 255.0)
    paper, ink = (light, dark) if random.random() < 0.5 else (dark, light)
    ramp = random.uniform(-12.0, 12.0, size=2)
    across = np.linspace(-1.0, 1.0, SIDE)
    picture = paper + (ink - paper) * coverage
    picture += ramp[0] * across[None, :]
    picture += ramp[1] * across[:, None]
    picture += random.normal(0.0, random.uniform(0.0, 14.0), size=picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def render_clean(face, label, seed, index):
    """The same glyph in the same place, white on black, without blur and noise, in 16 levels."""
    coverage = place(face, label, sample_generator(seed, face, label, index))
    return (np.rint(coverage * 15) * 17).astype(np.uint8)


def every_face(faces, per_face):
    """(face, label, index) for per_face samples of each class of each face."""
    for face in faces:
        for label in range(len(CLASSES)):
            for index in range(per_face):
                yield face, label, index


def every_class(faces, per_class, seed):
    """(face, label, index): per_class of each class, lineages in turn, a face drawn in each."""
    lineages = sorted({face.lineage for face in faces})
    members = {name: [f for f in faces if f.lineage == name] for name in lineages}
    digest = hashlib.sha256(f"{seed}/every-class".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
    for index in range(per_class):
        for label in range(len(CLASSES)):
            group = members[lineages[index % len(lineages)]]
            yield group[int(random.integers(len(group)))], label, index


def write_npz(path, members, deflate):
    """An NPZ without times: equal arrays give equal bytes. Noise hardly deflates."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in members:
            entry = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
            with archive.open(entry, "w") as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def command_set(options):
    faces = read_faces(options.split)
    if options.per_class:
        plan = list(every_class(faces, options.per_class, options.seed))
    else:
        plan = list(every_face(faces, options.per_face))
    draw = render_clean if options.clean else render
    images = np.empty((len(plan), 1, SIDE, SIDE), np.uint8)
    labels = np.empty(len(plan), np.int64)
    for row, (face, label, index) in enumerate(plan):
        images[row, 0] = draw(face, label, options.seed, index)
        labels[row] = label
    write_npz(options.output, [("images", images), ("labels", labels)], options.clean)
    print(f"{options.output}: {len(plan)} pictures, {len(faces)} faces, "
          f"{len({f.lineage for f in faces})} lineages")


def command_png(options):
    face = read_faces(options.split)[options.face]
    picture = render(face, CLASSES.index(options.class_name), options.seed, 0)
    Image.fromarray(picture, "L").save(options.output)
    print(f"{options.output}: {options.class_name} of {os.path.basename(face.file)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    one_set = commands.add_parser("set", help="a labelled NPZ set")
    one_set.set_defaults(call=command_set)
    count = one_set.add_mutually_exclusive_group(required=True)
    count.add_argument("--per-face", type=int, help="samples of each class of each face")
    count.add_argument("--per-class", type=int, help="samples of each class, over all lineages")
    one_set.add_argument("--clean", action="store_true",
                         help="ink on black without blur and noise, deflated")
    one_png = commands.add_parser("png", help="a single picture")
    one_png.set_defaults(call=command_png)
    one_png.add_argument("--face", type=int, required=True, help="row of the split, from 0")
    one_png.add_argument("--class-name", choices=list(CLASSES), required=True)
    for command in (one_set, one_png):
        command.add_argument("--split", choices=("train", "validation", "test"), nargs="+",
                             required=True)
        command.add_argument("--seed", type=int, default=1)
        command.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
