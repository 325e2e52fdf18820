#!/usr/bin/env python3
"""Makes the seed corpus of fuzz_onnx: tests/fuzz/corpus/onnx.

    tools/fuzz/onnx_corpus.py CONFORMANCE_FOLDER CORPUS_FOLDER

Takes the smallest conformance model of every (operators, opset), as a valid start, and adds files
that are wrong in known ways. Files above 4 KiB stay out: a fuzzer mutates small ones best.
"""
import hashlib
import pathlib
import sys
import tarfile

LARGEST = 4096
VALID = 400


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field, number):
    return varint(field << 3) + varint(number)


def chunk(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def model(graph, opset=13, ir_version=8):
    imports = chunk(1, "") + integer(2, opset)
    return integer(1, ir_version) + chunk(7, graph) + chunk(8, imports)


def tensor(name, dims, dtype=1, data=b"\0" * 8, extra=b""):
    body = b"".join(integer(1, d) for d in dims) + integer(2, dtype) + chunk(8, name)
    return body + (chunk(9, data) if data is not None else b"") + extra


def value(name, dims=(2,), dtype=1):
    shape = b"".join(chunk(1, integer(1, d)) for d in dims)
    return chunk(1, name) + chunk(2, chunk(1, integer(1, dtype) + chunk(2, shape)))


def node(kind, inputs, outputs, extra=b""):
    ports = b"".join(chunk(1, i) for i in inputs) + b"".join(chunk(2, o) for o in outputs)
    return ports + chunk(4, kind) + extra


def nested(depth):
    graph = b""
    for _ in range(depth):
        attribute = chunk(1, "body") + chunk(6, graph) + integer(20, 5)
        graph = chunk(1, node("If", ["c"], ["y"], chunk(5, attribute)))
    return graph


def external(location, offset="0", length="8"):
    entries = (("location", location), ("offset", offset), ("length", length))
    extra = b"".join(chunk(13, chunk(1, k) + chunk(2, v)) for k, v in entries) + integer(14, 1)
    return model(chunk(5, tensor("w", [2], data=None, extra=extra)))


def function_model(calls):
    """f calls the functions named; the graph calls f."""
    body = b"".join(chunk(7, node(c, ["x"], ["y%d" % i], chunk(7, "d")))
                    for i, c in enumerate(calls))
    function = chunk(1, "f") + chunk(4, "x") + chunk(5, "y0") + body + chunk(10, "d")
    graph = chunk(1, node("f", ["x"], ["y"], chunk(7, "d"))) + chunk(11, value("x"))
    return model(graph + chunk(12, value("y"))) + chunk(25, function)


def hostile():
    add = chunk(1, node("Add", ["x", "w"], ["y"]))
    good = chunk(11, value("x")) + chunk(5, tensor("w", [2])) + add + chunk(12, value("y"))
    yield model(good)
    for size in range(4, len(model(good)), 9):
        yield model(good)[:size]
    for dims in ([-1], [3], [1 << 31], [1 << 20] * 4, [1] * 9, [0], [], [1 << 62, 4]):
        yield model(chunk(5, tensor("w", dims)))
    for dtype in (0, 8, 9, 21, 26, 27, 1 << 40):
        yield model(chunk(5, tensor("w", [2], dtype)))
    for packed in (b"\x01\x02", b"\xff" * 11, b""):
        for field in (4, 5, 7, 10, 11):
            yield model(chunk(5, tensor("w", [2], 7, None, chunk(field, packed))))
    for location in ("../w", "a/../../w", "/etc/passwd", "", ".", "w\0", "a" * 300):
        yield external(location)
    for offset, length in (("-1", "8"), ("18446744073709551616", "8"), ("0", "x"), ("8", "9")):
        yield external("w", offset, length)
    for depth in (3, 9, 30, 80):
        yield model(nested(depth))
    for calls in (["f"], ["f", "f"], ["Relu"], ["g"]):
        yield function_model(calls)
    for first, second in ((("x", "a"), ("a", "a")), (("b", "a"), ("a", "b")), (("x", "x"), ("x", "b"))):
        graph = chunk(11, value("x"))
        for source, target in (first, second):
            graph += chunk(1, node("Relu", [source], [target]))
        yield model(graph)
    for name in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"n" * 4000):
        yield model(chunk(11, chunk(1, name)))
    for opset, ir_version in ((0, 8), (6, 3), (26, 8), (13, 2), (13, 1 << 62)):
        yield model(good, opset, ir_version)
    yield model(good) + b"\x0b\x0c"
    yield model(chunk(11, value("x")) + chunk(1, node("Identity", ["x"] * 200, ["y"])))
    yield model(chunk(15, chunk(1, tensor("w", [1])) + chunk(2, tensor("", [1], 7)) + integer(3, 9)))
    yield model(b"\x0a\x00" * 500)
    yield b""


def valid(folder):
    smallest = {}
    for row in (folder / "index.tsv").read_text().splitlines()[1:]:
        columns = row.split("\t")
        smallest.setdefault((columns[3], columns[2]), (columns[0], columns[1]))
    wanted = set(smallest.values())
    for archive in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = member.name.split("/")
                if parts[-1] == "model.onnx" and (parts[-3], parts[-2]) in wanted:
                    if member.size <= LARGEST:
                        yield tar.extractfile(member).read()


def main():
    source, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    models = sorted(valid(source), key=len)[:VALID]
    for data in models + list(hostile()):
        (target / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
