// The traces of hostile_test.py through the replay commands that are not native programs. Needs the
// products of scripts/build.
import assert from "node:assert/strict";
import { test } from "node:test";
import { root, run, wasmtime } from "../module/support.ts";

const players: Readonly<Record<string, readonly string[]>> = {
  "the npm package's command": [process.execPath, `${root}worker/dist/node/replay-cli.js`],
  "the WASI command in wasmtime": [
    wasmtime,
    "run",
    "--dir",
    ".",
    `${root}build/sidekick-trace.wasm`,
    "replay",
  ],
  "a module in wasmtime": [
    `${root}build/native/sidekick-replay-wasmtime`,
    `${root}build/sidekick.wasi.wasm`,
  ],
};

for (const [name, command] of Object.entries(players)) {
  test(`${name} ends by itself on every trace that nobody recorded, and says what is wrong`, async () => {
    const ran = await run("python3", [
      `${root}tests/trace/hostile_test.py`,
      `${root}tests/core/traces`,
      "none",
      ...command,
    ]);
    assert.match(`${ran.status} ${ran.stderr}${ran.stdout}`, /^0 \d+ traces, 0 failures\n$/);
  });
}
