// Runs a model once in ONNX Runtime, for comparing results.
//
//   node ort_run.mjs MODEL --describe               inputs and outputs as JSON
//   node ort_run.mjs MODEL -i NAME=FILE.npy ... -o DIRECTORY [--optimization disabled]
//
// The second form writes DIRECTORY/0.npy, 1.npy, ... in the order of the model's outputs and
// prints their names as JSON: output names may hold characters that file names may not.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { writeNpy } from "./npy.mjs";
import { openSession, readFeeds, runMain, VERSION } from "./ort_session.mjs";

function describe(session) {
    const plain = ({ name, type, shape }) => ({ name, type, shape });
    return {
        version: VERSION,
        inputs: session.inputMetadata.map(plain),
        outputs: session.outputMetadata.map(plain),
    };
}

async function main() {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            describe: { type: "boolean", default: false },
            input: { type: "string", short: "i", multiple: true, default: [] },
            optimization: { type: "string", default: "all" },
            output: { type: "string", short: "o", default: "." },
            threads: { type: "string", default: "1" },
        },
    });
    if (positionals.length !== 1) {
        throw new Error("usage: ort_run.mjs MODEL [--describe] [-i NAME=FILE.npy ...] [-o DIRECTORY]");
    }
    const threads = Number(values.threads);
    const session = await openSession(positionals[0], threads, values.optimization);
    if (values.describe) {
        process.stdout.write(`${JSON.stringify(describe(session))}\n`);
        return;
    }
    const results = await session.run(readFeeds(values.input));
    mkdirSync(values.output, { recursive: true });
    session.outputNames.forEach((name, index) => {
        const { type, dims, data } = results[name];
        writeNpy(join(values.output, `${index}.npy`), type, dims, data);
    });
    process.stdout.write(`${JSON.stringify(session.outputNames)}\n`);
}

await runMain(main);
