// Reads and writes .npy files: the one tensor format that every program of this folder shares.

import { readFileSync, writeFileSync } from "node:fs";

// ONNX Runtime's type name, NumPy's descriptor, and the array that holds the elements.
// Half floats stay raw 16-bit words: nothing here computes with them.
const TYPES = [
    ["float32", "<f4", Float32Array],
    ["float64", "<f8", Float64Array],
    ["float16", "<f2", Uint16Array],
    ["int8", "|i1", Int8Array],
    ["uint8", "|u1", Uint8Array],
    ["int16", "<i2", Int16Array],
    ["uint16", "<u2", Uint16Array],
    ["int32", "<i4", Int32Array],
    ["uint32", "<u4", Uint32Array],
    ["int64", "<i8", BigInt64Array],
    ["uint64", "<u8", BigUint64Array],
    ["bool", "|b1", Uint8Array],
];
const MAGIC = "\x93NUMPY";
const HEADER_ALIGNMENT = 64;

function headerField(header, pattern, path) {
    const match = header.match(pattern);
    if (!match) {
        throw new Error(`${path}: the .npy header lacks ${pattern}`);
    }
    return match[1];
}

// Returns {type, shape, data}. Throws on anything but a little-endian, C-ordered array.
export function readNpy(path) {
    const file = readFileSync(path);
    if (file.subarray(0, 6).toString("latin1") !== MAGIC) {
        throw new Error(`${path}: not an .npy file`);
    }
    const wide = file[6] >= 2;
    const length = wide ? file.readUInt32LE(8) : file.readUInt16LE(8);
    const start = (wide ? 12 : 10) + length;
    const header = file.subarray(start - length, start).toString("latin1");
    const descriptor = headerField(header, /'descr':\s*'([^']+)'/, path);
    if (headerField(header, /'fortran_order':\s*(\w+)/, path) !== "False") {
        throw new Error(`${path}: Fortran order is not supported`);
    }
    const shape = headerField(header, /'shape':\s*\(([^)]*)\)/, path)
        .split(",").map((text) => text.trim()).filter(Boolean).map(Number);
    const row = TYPES.find((candidate) => candidate[1] === descriptor);
    if (!row) {
        throw new Error(`${path}: element type ${descriptor} is not supported`);
    }
    const [type, , ArrayType] = row;
    const bytes = file.buffer.slice(file.byteOffset + start, file.byteOffset + file.length);
    return { type, shape, data: new ArrayType(bytes) };
}

// Writes one tensor given as ONNX Runtime returns it.
export function writeNpy(path, type, shape, data) {
    const row = TYPES.find((candidate) => candidate[0] === type);
    if (!row) {
        throw new Error(`${path}: element type ${type} has no .npy form`);
    }
    const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
    const text = `{'descr': '${row[1]}', 'fortran_order': False, 'shape': (${tuple}), }`;
    const unpadded = 10 + text.length + 1;
    const padding = (HEADER_ALIGNMENT - (unpadded % HEADER_ALIGNMENT)) % HEADER_ALIGNMENT;
    const header = Buffer.alloc(unpadded + padding, " ");
    header.write(MAGIC, 0, "latin1");
    header.writeUInt8(1, 6);
    header.writeUInt8(0, 7);
    header.writeUInt16LE(header.length - 10, 8);
    header.write(text, 10, "latin1");
    header.write("\n", header.length - 1, "latin1");
    const body = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    writeFileSync(path, Buffer.concat([header, body]));
}
