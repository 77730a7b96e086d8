// sidekick-trace with modules: upgrade-check and record --module natively, and what the WASI command refuses. Needs what scripts/build builds.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { root, run } from "../wasi/support.ts";

const tool = `${root}build/native/sidekick-trace`;
const wasi = `${root}build/sidekick.wasi.wasm`;
const emscripten = `${root}build/sidekick.emscripten.wasm`;
const trace = `${root}tests/traces/random.jsonl`;
const folder = mkdtempSync(join(tmpdir(), "sidekick-trace-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The module with another text in it, of the same length: what another version might say. */
function changedModule(from: string, to: string): string {
  const bytes = readFileSync(wasi);
  const at = bytes.indexOf(from);
  assert.ok(at > 0 && from.length === to.length, `the module has "${from}"`);
  bytes.write(to, at, "latin1");
  const path = join(folder, "changed.wasm");
  writeFileSync(path, bytes);
  return path;
}

test("upgrade-check of two builds of the same source finds nothing", async () => {
  const ran = await run(tool, ["upgrade-check", wasi, emscripten, trace]);
  assert.deepEqual(ran, { status: 0, stdout: "508 inputs, 0 of them answered otherwise\n", stderr: "" });
});

test("upgrade-check tells how many inputs of each kind a new module answers otherwise, and the first", async () => {
  const ran = await run(tool, ["upgrade-check", wasi, changedModule("Conflict: a client holds", "Konflikt: a client hold5"), trace]);
  assert.equal(ran.status, 1);
  assert.match(ran.stdout, /^508 inputs, 9 of them answered otherwise\n\nhttp_request: 9; the first in line \d+: .*POST \/connection.*\n {2}old: .*Conflict: .*\n {2}new: .*Konflikt: .*\n$/);
});

test("record --module makes the recording that is there", async () => {
  const ran = await run(tool, ["record", trace, "--module", wasi]);
  assert.equal(ran.stdout, readFileSync(trace, "utf8"));
});

test("upgrade-check says what is wrong with a trace as the other commands do, and finds nothing in one without inputs", async () => {
  const header = readFileSync(trace, "utf8").split("\n")[0] + "\n";
  const check = async (text: string) => {
    writeFileSync(join(folder, "check.jsonl"), text);
    const { status, stdout, stderr } = await run(tool, ["upgrade-check", wasi, wasi, join(folder, "check.jsonl")]);
    return `${status} ${stdout}${stderr.replace(folder, "")}`;
  };
  assert.equal(await check(header), "0 0 inputs, 0 of them answered otherwise\n");
  assert.equal(await check(""), '2 /check.jsonl: is empty; expected a trace, whose first line is {"trace":1,...}\n');
  assert.equal(
    await check(header.replace('"trace":1', '"trace":2')),
    "2 /check.jsonl: expected a trace of format 1, found format 2: use the sidekick-trace of the version that recorded it\n",
  );
  const ran = await run(tool, ["upgrade-check", join(folder, "none.wasm"), wasi, trace]);
  assert.match(`${ran.status} ${ran.stderr}`, /^2 .*none\.wasm: cannot be opened: No such file or directory\n$/);
});

test("what is no module is refused", async () => {
  const ran = await run(tool, ["upgrade-check", trace, wasi, trace]);
  assert.equal(ran.status, 2);
  assert.match(ran.stderr, /random\.jsonl: expected a WebAssembly module: /);
});

test("the WASI command passes the same tests, and refuses what needs processes or an engine", async () => {
  const command = [process.execPath, "--no-warnings", `${root}tests/wasi/node-wasi.mjs`, `${root}build/sidekick-trace.wasm`];
  const ran = await run("sh", [`${root}tests/trace-tool/trace_tool_test.sh`, root, ...command]);
  assert.deepEqual(ran, { status: 0, stdout: "", stderr: "" });
  const [node, ...args] = command;
  const shrink = await run(node!, [...args, "shrink", "x", "-o", "y", "--until", "trap"]);
  assert.equal(shrink.status, 2);
  assert.match(shrink.stderr, /needs child processes, .* use the native sidekick-trace/);
  const check = await run(node!, [...args, "upgrade-check", "a", "b", "c"]);
  assert.equal(check.status, 2);
  assert.match(check.stderr, /has no engine for modules: use a native build with wasmtime/);
});
