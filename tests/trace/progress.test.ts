// The progress of the replay commands that are not native programs, in a pseudo terminal. Needs the
// products of scripts/build.
import assert from "node:assert/strict";
import { test } from "node:test";
import { root, run, wasmtime } from "../module/support.ts";

const trace = `${root}build/sidekick-trace.wasm`;
const players: Readonly<Record<string, readonly string[]>> = {
  "the npm package's command": [
    process.execPath,
    `${root}worker/dist/node/replay-cli.js`,
    "/dev/stdin",
  ],
  "the WASI command in wasmtime": [wasmtime, "run", "--env", "TERM", trace, "replay", "-"],
  "the WASI command in node:wasi": [
    process.execPath,
    "--no-warnings",
    `${root}tests/module/node-wasi.mjs`,
    trace,
    "replay",
    "-",
  ],
};

for (const [name, command] of Object.entries(players)) {
  test(`${name} shows progress on a terminal, erases it, and writes none elsewhere`, async () => {
    const ran = await run("python3", [`${root}tests/trace/progress_test.py`, "replay", ...command]);
    assert.equal(`${ran.status} ${ran.stderr}${ran.stdout}`, "0 progress: as expected\n");
  });
}
