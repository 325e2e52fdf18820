// Times a model in ONNX Runtime on request, so that a driver can take turns between this
// process and another one. The line protocol is described in bench/README.md.
//
//   node ort_bench.mjs MODEL --threads N -i NAME=FILE.npy ...

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { openSession, readFeeds, runMain, VERSION } from "./ort_session.mjs";

const MEGABYTE = 1e6;

function peakMemory() {
    const line = readFileSync("/proc/self/status", "latin1").match(/VmHWM:\s*(\d+) kB/);
    return line ? (Number(line[1]) * 1024) / MEGABYTE : 0;
}

function say(line) {
    process.stdout.write(`${line}\n`);
}

async function meanTime(session, feeds, count) {
    const start = performance.now();
    for (let i = 0; i < count; i++) {
        await session.run(feeds);
    }
    return (performance.now() - start) / count;
}

async function main() {
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            input: { type: "string", short: "i", multiple: true, default: [] },
            threads: { type: "string", default: "1" },
        },
    });
    if (positionals.length !== 1) {
        throw new Error("usage: ort_bench.mjs MODEL [--threads N] [-i NAME=FILE.npy ...]");
    }
    const threads = Number(values.threads);
    const feeds = readFeeds(values.input);
    const idle = peakMemory();
    const start = performance.now();
    const session = await openSession(positionals[0], threads);
    const loaded = performance.now();
    await session.run(feeds);
    const first = performance.now();
    say(`ready ${JSON.stringify({
        version: VERSION,
        threads,
        load_ms: loaded - start,
        load_and_first_run_ms: first - start,
        idle_rss_mb: idle,
        peak_rss_mb: peakMemory(),
    })}`);
    for await (const line of createInterface({ input: process.stdin })) {
        const [command, argument] = line.trim().split(/\s+/);
        if (command === "quit") {
            break;
        }
        const count = Number(argument ?? 1);
        if (command !== "run" || !Number.isInteger(count) || count < 1) {
            say(`error expected 'run COUNT' or 'quit', got '${line}'`);
            continue;
        }
        say(`ms ${await meanTime(session, feeds, count)}`);
    }
}

await runMain(main);
