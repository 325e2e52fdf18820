// Opens a model in ONNX Runtime the way every program of this folder measures it:
// CPU provider, all graph optimisations, one operator at a time, a stated number of threads.

import ort from "onnxruntime-node";

import { readNpy } from "./npy.mjs";

export const VERSION = `onnxruntime ${ort.env.versions.node}`;

const LOG_ERRORS_ONLY = 3;

// `optimization` "disabled" runs every operator as the file has it: for comparing results only.
export async function openSession(path, threads, optimization = "all") {
    return ort.InferenceSession.create(path, {
        executionProviders: ["cpu"],
        graphOptimizationLevel: optimization,
        executionMode: "sequential",
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: LOG_ERRORS_ONLY,
    });
}

// Turns ["NAME=FILE.npy", ...] into what session.run() takes.
export function readFeeds(pairs) {
    const feeds = {};
    for (const pair of pairs) {
        const cut = pair.lastIndexOf("=");
        if (cut < 1) {
            throw new Error(`input '${pair}' is not NAME=FILE.npy`);
        }
        const { type, shape, data } = readNpy(pair.slice(cut + 1));
        feeds[pair.slice(0, cut)] = new ort.Tensor(type, data, shape);
    }
    return feeds;
}

// Runs a program's main function; a failure becomes one line and exit code 3.
export async function runMain(main) {
    try {
        await main();
    } catch (error) {
        process.stderr.write(`${error.message ?? error}\n`);
        process.exitCode = 3;
    }
}
