#!/usr/bin/python3
"""Writes the seed corpora of the tensor and image fuzzers below tests/fuzz/corpus.

Each corpus has valid files, files that break one rule each, and seeded mutations of the valid ones.
The same script writes the same files. Pictures need python3-pil and python3-numpy.
"""
import io
import json
import pathlib
import random
import struct
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fuzz" / "corpus"
AT_LEAST = 120


def mutate(data, rng):
    """One small damage: flipped bytes, a cut, a doubled piece, or an extreme number."""
    data = bytearray(data)
    if not data:
        return bytes([rng.randrange(256)])
    kind = rng.randrange(5)
    at = rng.randrange(len(data))
    if kind == 0:
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        piece = data[at:at + rng.randrange(1, 40)]
        data[at:at] = piece
    elif kind == 3:
        value = rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
        data[at:at + 4] = struct.pack(rng.choice("<>") + "I", value)
    else:
        del data[at:at + rng.randrange(1, 20)]
    return bytes(data)


def write(name, valid, hostile):
    """Stores all, then mutations of the valid ones until there are enough."""
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    files = {f"valid-{i:03}": data for i, data in enumerate(valid)}
    files.update({f"hostile-{i:03}": data for i, data in enumerate(hostile)})
    rng = random.Random(name)
    small = [data for data in valid if len(data) < 4096]
    while len(files) < AT_LEAST:
        files[f"mutated-{len(files):03}"] = mutate(rng.choice(small), rng)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    print(f"{name}: {len(files)} files, {sum(map(len, files.values()))} bytes")


# --- NPY ------------------------------------------------------------------------------------------

def npy(descr, shape, data, fortran=False, version=1, text=None):
    if text is None:
        text = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    text = text.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(text) & (0xFFFF if version == 1 else ~0))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def npy_corpus():
    sizes = {"f4": 4, "f8": 8, "f2": 2, "u1": 1, "i1": 1, "u2": 2, "i2": 2, "u4": 4, "i4": 4,
             "u8": 8, "i8": 8, "c8": 8, "c16": 16, "V2": 2}
    valid = [npy(order + code, (2, 3), bytes(range(6 * size)), fortran)
             for code, size in sizes.items() for order in "<>" for fortran in (False, True)
             if order == "<" or size > 1]
    valid += [npy("|b1", (3,), b"\0\1\1"), npy("<f4", (), bytes(4)), npy("<f4", (0, 5), b""),
              npy("|S5", (2,), b"abc\0\0hello"), npy("<U2", (2,), "aé😀\0".encode("utf-32-le")),
              npy(">U1", (1,), "ß".encode("utf-32-be")), npy("<i4", (1,), bytes(4), version=2),
              npy("<i4", (1,), bytes(4), version=3)]
    hostile = [
        b"", b"\x93NUMPY", npy("<f4", (2147483647,), b""), npy("<f4", "(99999999999999999999,)", b""),
        npy("<f4", "(-1,)", b""), npy("<f4", (2,) * 9, b""), npy("<f4", (2147483647,) * 8, b""),
        npy("|O", (1,), bytes(8)), npy("<f4", (3,), bytes(11)), npy("<f4", (3,), bytes(13)),
        npy("|b1", (2,), b"\2\3"), npy("|S0", (2147483647,), b""), npy("<U999999999", (5,), b""),
        npy("<U1", (1,), b"\0\xd8\0\0"), npy("<U1", (1,), b"\0\0\x11\0"), npy("<f4", "(3)", bytes(12)),
        npy("", (1,), b""), npy("<" * 30, (1,), b""), npy("<f4", "(" * 500, b""),
        npy("", 0, b"", text="{" * 1000), npy("", 0, b"", text="{'descr': '<f4'"),
        npy("", 0, b"", text="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"),
        npy("", 0, b"", text="{'shape': (1,), 'shape': (2,), 'descr': '<f4'}"),
        b"\x93NUMPY\2\0\xff\xff\xff\xff{}", b"\x93NUMPY\1\0\xff\xff{}", b"\x93NUMPY\x09\0\2\0{}",
    ]
    return valid, hostile


# --- NPZ ------------------------------------------------------------------------------------------

def npz(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return file.getvalue()


def npz_corpus():
    arrays = [npy("<f4", (2, 2), bytes(16)), npy("|u1", (4,), b"abcd"), npy(">i2", (3,), bytes(6))]
    valid = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        valid += [npz([("a.npy", array)], method) for array in arrays]
        valid += [npz([], method), npz([("x.npy", arrays[0]), ("y", arrays[1])], method),
                  npz([(f"n{i}.npy", arrays[i % 3]) for i in range(12)], method)]
    one = npz([("a.npy", arrays[0])])
    end = one.rindex(b"PK\5\6")
    directory = one.index(b"PK\1\2")
    hostile = [
        b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"PK\5\6" + bytes(4) + b"\xff" * 4 + bytes(10),
        npz([("../../etc/x.npy", arrays[0])]), npz([("/x.npy", arrays[0])]), npz([("", arrays[0])]),
        npz([("a.npy", b"no array")]), npz([("a.npy", b"")]),
        npz([("a.npy", npy("|u1", (500000,), bytes(500000)))], zipfile.ZIP_DEFLATED),
        npz([("a.npy", npy("|u1", (2147483647,), bytes(10)))]),
        npz([("a.npy", arrays[0])], zipfile.ZIP_BZIP2), npz([("a.npy", arrays[0])], zipfile.ZIP_LZMA),
        npz([("n" * 5000 + ".npy", arrays[0])]),
        one[:end + 10] + b"\xff\x0f" + one[end + 12:], one[:end + 16] + b"\xff\xff\xff\x7f" + one[end + 20:],
        one[:directory + 20] + b"\xff\xff\xff\x7f" * 2 + one[directory + 28:],
        one[:directory + 42] + b"\xff\xff\xff\x7f" + one[directory + 46:],
        one[:directory + 8] + b"\1" + one[directory + 9:],
        one[:end] + b"PK\6\6" + bytes(28) + b"\xff" * 8 + bytes(16) + b"PK\6\7" + bytes(4)
        + struct.pack("<Q", end) + b"\1\0\0\0" + b"PK\5\6" + bytes(4) + b"\1\0\1\0"
        + b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0",
        one + one, one + bytes(100),
    ]
    return valid, hostile


# --- safetensors ----------------------------------------------------------------------------------

def safetensors(header, data=b"", length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_corpus():
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
             "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
             "F8_E8M0": 1, "C64": 8}
    valid = [safetensors({"t": entry(name, [2, 1], 0, 2 * size)}, bytes(2 * size))
             for name, size in sizes.items()]
    valid += [safetensors({}), safetensors(b"{}      "), safetensors({"__metadata__": {"a": "b"}}),
              safetensors({"f4": entry("F4", [3], 0, 2)}, bytes(2)),
              safetensors({"e": entry("F32", [0, 7], 0, 0), "s": entry("F32", [], 0, 4)}, bytes(4)),
              safetensors({f"n{i}": entry("U8", [i], i * (i - 1) // 2, i * (i + 1) // 2)
                           for i in range(20)}, bytes(190)),
              safetensors({"odd": entry("U8", [1], 0, 1), "f": entry("F64", [1], 1, 9)}, bytes(9)),
              safetensors({"\u00e9\U0001f600\"\\\n": entry("U8", [1], 0, 1)}, b"x")]
    good = entry("U8", [4], 0, 4)
    hostile = [
        b"", bytes(8), safetensors(b"{}", length=2 ** 63), safetensors(b"{}", length=100000001),
        safetensors(b"{}", length=3), safetensors(b"[]"), safetensors(b" {}"), safetensors(b"{}x"),
        safetensors(b"{" * 3000), safetensors(b'{"a":' * 1000), safetensors(b"[" * 3000),
        safetensors({"a": good}), safetensors({"a": good}, bytes(5)),
        safetensors({"a": good, "b": good}, bytes(4)),
        safetensors({"a": entry("U8", [4], 1, 5)}, bytes(5)),
        safetensors({"a": entry("U8", [4], 4, 0)}, bytes(4)),
        safetensors({"a": entry("U8", [5], 0, 4)}, bytes(4)),
        safetensors({"a": entry("U8", [-4], 0, 4)}, bytes(4)),
        safetensors({"a": entry("U8", [2 ** 31], 0, 4)}, bytes(4)),
        safetensors({"a": entry("U8", [2 ** 62, 4], 0, 4)}, bytes(4)),
        safetensors({"a": entry("U8", [1] * 9, 0, 1)}, bytes(1)),
        safetensors({"a": entry("U8", [4], 0, 2 ** 64)}, bytes(4)),
        safetensors({"a": entry("NO", [4], 0, 4)}, bytes(4)),
        safetensors({"a": entry("BOOL", [4], 0, 4)}, b"\2" * 4),
        safetensors({"a": dict(good, extra=1)}, bytes(4)),
        safetensors({"a": {"dtype": "U8"}}, bytes(4)), safetensors({"a": 1}), safetensors({"a": []}),
        safetensors({"__metadata__": {"a": 1}}), safetensors({"__metadata__": []}),
        safetensors(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
                    b'"a":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}', bytes(4)),
        safetensors(b'{"\\ud83d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        safetensors(b'{"\\u0000":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        safetensors(b'{"\xff":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
        safetensors(b'{"' + b"n" * 5000 + b'":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
    ]
    return valid, hostile


# --- pictures -------------------------------------------------------------------------------------

def image_corpus():
    import numpy
    from PIL import Image

    rng = numpy.random.RandomState(1)
    valid = []

    def add(image, form, **options):
        file = io.BytesIO()
        image.save(file, form, **options)
        valid.append(file.getvalue())

    for height, width in ((1, 1), (3, 5), (16, 16), (17, 9)):
        pixels = rng.randint(0, 256, (height, width, 4)).astype("uint8")
        pixels[: height // 2] //= 4
        colour = Image.fromarray(pixels[..., :3].copy())
        for mode in ("RGB", "L", "P", "RGBA", "LA", "1"):
            add(Image.fromarray(pixels).convert(mode) if mode == "RGBA" else colour.convert(mode), "PNG")
        add(Image.fromarray((pixels[..., 0].astype("uint16") * 257)), "PNG")
        for quality in (30, 95):
            add(colour, "JPEG", quality=quality, progressive=quality == 30)
        add(colour.convert("L"), "JPEG")
        add(colour.convert("CMYK"), "JPEG")
        add(colour, "WEBP", lossless=True)
        add(colour, "WEBP", quality=50)
        add(Image.fromarray(pixels), "WEBP", lossless=True)
    jpeg = next(data for data in valid if data[:2] == b"\xff\xd8")
    png = valid[0]
    webp = next(data for data in valid if data[:4] == b"RIFF")
    frame = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    hostile = [
        b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a" + bytes(20),
        jpeg[:frame + 5] + b"\xff\xff\xff\xff" + jpeg[frame + 9:],
        jpeg[:frame + 5] + bytes(4) + jpeg[frame + 9:], jpeg[:-2],
        jpeg[:2] + b"\xff\xda" * 200 + jpeg[2:], jpeg + jpeg,
        png[:16] + b"\x7f\xff\xff\xff" * 2 + png[24:], png[:16] + bytes(8) + png[24:],
        png[:24] + b"\x20\x09" + png[26:], png[:33], png + bytes(64),
        webp[:20], webp[:4] + b"\xff\xff\xff\xff" + webp[8:], webp[:12] + b"VP8X" + bytes(30),
        webp[:12] + b"VP8L\xff\xff\xff\xff\x2f\xff\xff\xff\xff" + webp[25:],
    ]
    return valid, hostile


# --- recipes --------------------------------------------------------------------------------------

def preprocess_corpus():
    valid = [json.dumps(recipe).encode() for recipe in (
        {}, {"geometry": "none"}, {"geometry": "auto"}, {"resize": {"shorter": 8}},
        {"resize": {"height": 8, "width": 9}, "method": "bicubic"},
        {"resize": {"shorter": 8}, "crop": {"height": 4, "width": 4}, "method": "nearest"},
        {"crop": {"height": 4, "width": 4}}, {"channels": "bgr"}, {"channels": "gray"},
        {"scale": 1 / 255, "mean": [.485, .456, .406], "std": [.229, .224, .225]},
        {"mean": 127.5, "std": 127.5}, {"mean": [1, 2, 3], "std": 2}, {"mean": 1, "std": [1, 2, 3, 4]},
        {"layout": "nhwc"}, {"layout": "nchw", "dtype": "u8"}, {"dtype": "bf16"}, {"dtype": "i4"},
        {"scale": -1e9}, {"scale": 1e-300}, {"std": 1e-8}, {"mean": [5]})]
    hostile = [
        b"", b"{", b"[]", b"null", b"1", b'""', b"{}{}", b"[" * 100, b'{"a":' * 100,
        b'{"scale":1,"scale":2}', b'{"scale":NaN}', b'{"scale":1e999}', b'{"scale":"1"}',
        b'{"unknown":1}', b'{"std":0}', b'{"std":[1,0,1]}', b'{"std":[]}', b'{"mean":[1,2]}',
        b'{"mean":[1,2,3],"std":[1,2,3,4]}', b'{"mean":{}}', b'{"mean":[[1]]}', b'{"mean":"x"}',
        b'{"resize":1}', b'{"resize":{}}', b'{"resize":{"shorter":0}}', b'{"resize":{"shorter":-1}}',
        b'{"resize":{"shorter":1e3}}', b'{"resize":{"shorter":99999999999999999999}}',
        b'{"resize":{"shorter":16384}}', b'{"resize":{"height":1}}',
        b'{"resize":{"shorter":4,"height":4,"width":4}}', b'{"crop":{"height":16384,"width":1}}',
        b'{"crop":{"height":1,"width":1},"geometry":"none"}', b'{"geometry":"steps"}',
        b'{"dtype":"string"}', b'{"dtype":"bool"}', b'{"dtype":"c64"}', b'{"dtype":"\\u0000"}',
        b'{"layout":"\xff"}', b'{"channels":null}', b"\xef\xbb\xbf{}", b'{"mean":[' + b"1," * 5000 + b"1]}",
    ]
    return valid, hostile


CORPORA = {"npy": npy_corpus, "npz": npz_corpus, "safetensors": safetensors_corpus,
           "image": image_corpus, "preprocess": preprocess_corpus}

if __name__ == "__main__":
    for corpus in sys.argv[1:] or CORPORA:
        write(corpus, *CORPORA[corpus]())
