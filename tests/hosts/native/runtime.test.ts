// Which runtime the server chooses, and what it says about the wasmtime library.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { cleanUp, newFolder, type RunOptions, run } from "./support/server.ts";

after(cleanUp);

const inWasmtime =
  /info {2}the core runs in wasmtime version="(\d+)" library="[^"]+" build="[^"]+"/;

/** Starts it, stops it, and returns what it said. */
async function output(flags: string[], options: RunOptions = {}): Promise<string> {
  const server = run(flags, { anyRuntime: true, ...options });
  await server.port();
  assert.equal(await server.kill("SIGTERM"), 0);
  return server.output();
}

/** It ends with this status and one line that says why. */
async function refuses(
  flags: string[],
  status: number,
  expected: RegExp,
  options: RunOptions = {},
): Promise<void> {
  const server = run(flags, { anyRuntime: true, ...options });
  assert.equal(await server.exit, status, server.output());
  const lines = server.output().match(/^sidekick-server: .*$/gm) ?? [];
  assert.equal(lines.length, 1, server.output());
  assert.match(lines[0]!, expected);
}

test("runs the core in wasmtime by default and logs the version and the library", async () => {
  assert.match(await output([]), inWasmtime);
});

test("--runtime and SIDEKICK_RUNTIME choose the runtime; the flag takes precedence", async () => {
  const env = { SIDEKICK_RUNTIME: "native" };
  assert.doesNotMatch(await output(["--runtime", "native"]), inWasmtime);
  assert.doesNotMatch(await output([], { env }), inWasmtime);
  assert.match(await output(["--runtime", "wasmtime"], { env }), inWasmtime);
});

test("rejects a runtime that does not exist", async () => {
  const expected = /--runtime \(SIDEKICK_RUNTIME\): expected wasmtime or native, got "v8"/;
  await refuses(["--runtime", "v8"], 2, expected);
  await refuses([], 2, expected, { env: { SIDEKICK_RUNTIME: "v8" } });
});

test("rejects the old meaning of --engine and SIDEKICK_ENGINE and names the new flag", async () => {
  const flag = (value: string) =>
    new RegExp(
      `--engine: expected the URL of a Redis server, got "${value}"; ` +
        "use --runtime to choose the runtime$",
    );
  await refuses(["--engine", "native"], 2, flag("native"));
  await refuses(["--engine=wasmtime"], 2, flag("wasmtime"));
  const variable =
    /SIDEKICK_ENGINE: .* server, got "native"; use SIDEKICK_RUNTIME to choose the runtime$/;
  await refuses([], 2, variable, { env: { SIDEKICK_ENGINE: "native" } });
});

test("says where it looked for the wasmtime library; --runtime native needs none", async () => {
  const env = { WASMTIME_PREFIX: "/nowhere" };
  const library = String.raw`/nowhere/lib/libwasmtime\.so`;
  const expected = new RegExp(
    `--runtime wasmtime: the wasmtime library is missing, looked for ${library}; ` +
      "run scripts/wasmtime or set SIDEKICK_WASMTIME_LIBRARY, or use --runtime native$",
  );
  await refuses([], 1, expected, { env });
  assert.doesNotMatch(await output(["--runtime", "native"], { env }), inWasmtime);
});

test("rejects a wasmtime library that cannot be loaded or is something else", async () => {
  const none = join(await newFolder(), "none.so");
  const missing = /cannot load the wasmtime library: .*none\.so: .*No such file or directory; run/;
  await refuses(["--wasmtime-library", none], 1, missing);
  await refuses([], 1, missing, { env: { SIDEKICK_WASMTIME_LIBRARY: none } });
  await refuses(
    ["--wasmtime-library", import.meta.filename],
    1,
    /cannot load .*: invalid ELF header; run/,
  );
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  const other = sharedObjects.find((file) => file.includes("libm."))!;
  await refuses(
    ["--wasmtime-library", other],
    1,
    /libm\.so.*: expected the C API of wasmtime \d+, found no wasm_\w+; run/,
  );
});

test("rejects a truncated wasmtime library", async () => {
  const [, whole = ""] = /library="([^"]+)"/.exec(await output([])) ?? [];
  const bytes = await readFile(whole);
  const file = join(await newFolder(), "libwasmtime.so");
  for (const size of [bytes.length >> 1, bytes.length - 1]) {
    await writeFile(file, bytes.subarray(0, size));
    await refuses(
      ["--wasmtime-library", file],
      1,
      new RegExp(`libwasmtime\\.so: expected ${bytes.length} bytes, found ${size}; run scripts/`),
    );
  }
});

test("loads the library that --wasmtime-library or SIDEKICK_WASMTIME_LIBRARY names", async () => {
  const [, found = ""] = /library="([^"]+)"/.exec(await output([])) ?? [];
  assert.ok(found.endsWith("/libwasmtime.so"), found);
  const env = { WASMTIME_PREFIX: "/nowhere" };
  assert.match(await output(["--wasmtime-library", found], { env }), inWasmtime);
  const both = { ...env, SIDEKICK_WASMTIME_LIBRARY: found };
  assert.match(await output([], { env: both }), inWasmtime);
});
