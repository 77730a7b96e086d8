// sidekick-trace with modules: upgrade-check and record --module natively, and the errors of the
// WASI command. Needs the products of scripts/build.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { root, run } from "../module/support.ts";

const tool = `${root}build/native/sidekick-trace`;
const wasi = `${root}build/sidekick.wasi.wasm`;
const emscripten = `${root}build/sidekick.emscripten.wasm`;
const trace = `${root}tests/core/traces/random.jsonl`;
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
  assert.deepEqual(ran, {
    status: 0,
    stdout: "552 inputs, 0 of them with different answers\n",
    stderr: "",
  });
});

test("upgrade-check counts the inputs of each kind that a new module answers differently, and shows the first", async () => {
  const ran = await run(tool, [
    "upgrade-check",
    wasi,
    changedModule("Conflict: a client holds", "Konflikt: a client hold5"),
    trace,
  ]);
  assert.equal(ran.status, 1);
  assert.match(
    ran.stdout,
    /^552 inputs, 9 of them with different answers\n\nhttp_request: 9; the first in line \d+: .*POST \/connection.*\n {2}old: .*Conflict: .*\n {2}new: .*Konflikt: .*\n$/,
  );
});

test("record --module reproduces the recording", async () => {
  const ran = await run(tool, ["record", trace, "--module", wasi]);
  assert.equal(ran.stdout, readFileSync(trace, "utf8"));
});

test("upgrade-check reports an invalid trace as the other commands do, and finds nothing in one without inputs", async () => {
  const header = `${readFileSync(trace, "utf8").split("\n")[0]}\n`;
  const check = async (text: string) => {
    writeFileSync(join(folder, "check.jsonl"), text);
    const { status, stdout, stderr } = await run(tool, [
      "upgrade-check",
      wasi,
      wasi,
      join(folder, "check.jsonl"),
    ]);
    return `${status} ${stdout}${stderr.replace(folder, "")}`;
  };
  assert.equal(await check(header), "0 0 inputs, 0 of them with different answers\n");
  assert.equal(
    await check(""),
    '2 /check.jsonl: is empty; expected a trace, whose first line is {"trace":2,...}\n',
  );
  assert.equal(
    await check(header.replace('"trace":2', '"trace":3')),
    "2 /check.jsonl: expected a trace of format 1 or 2, found format 3: use the sidekick-trace of the version that recorded it\n",
  );
  const ran = await run(tool, ["upgrade-check", join(folder, "none.wasm"), wasi, trace]);
  assert.match(
    `${ran.status} ${ran.stderr}`,
    /^2 .*none\.wasm: cannot be opened: No such file or directory\n$/,
  );
});

test("every command names a foreign module, or one that rejects the configuration, once", async () => {
  const empty = join(folder, "empty.wasm");
  writeFileSync(empty, "");
  const other = join(folder, "other.wasm"); // a module without anything in it
  writeFileSync(other, Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  const replay = `${root}build/native/sidekick-replay-wasmtime`;
  for (const module of [empty, other]) {
    const runs = [
      run(tool, ["record", trace, "--module", module]),
      run(tool, ["upgrade-check", wasi, module, trace]),
      run(tool, ["upgrade-check", module, wasi, trace]),
      run(replay, [module, trace]),
    ];
    for (const { status, stdout, stderr } of await Promise.all(runs)) {
      assert.equal(`${status} ${stdout}`, "2 ");
      assert.match(
        stderr.replace(folder, ""),
        /^\/\w+\.wasm: expected a WebAssembly module of Sidekick: .+\n$/,
      );
    }
  }
  const older = changedModule("frame_bytes_max", "frame_bytes_mox");
  const recorded = await run(tool, ["record", trace, "--module", older]);
  assert.equal(`${recorded.status} ${recorded.stdout}`, "2 ");
  assert.match(
    recorded.stderr,
    /random\.jsonl:1: the module rejects this configuration: .*frame_bytes_max.*\n$/,
  );
  const replayed = await run(replay, [older, trace]);
  assert.equal(`${replayed.status} ${replayed.stdout}`, "2 ");
  assert.match(replayed.stderr, /random\.jsonl:1: the module rejects this configuration: /);
  const checked = await run(tool, ["upgrade-check", wasi, older, trace]);
  assert.equal(`${checked.status} ${checked.stdout}`, "2 ");
  assert.match(
    checked.stderr,
    /changed\.wasm: rejects the configuration of .*random\.jsonl:1: .*frame_bytes_max.*\n$/,
  );
});

test("record --module ends where the module traps, and names the line", async () => {
  const twice = join(folder, "twice.jsonl");
  const opened = '{"in":"client_opened","now":1700000000000,"client":1}\n';
  const header = `${readFileSync(trace, "utf8").split("\n")[0]}\n`;
  writeFileSync(twice, header + opened + opened);
  const ran = await run(tool, ["record", twice, "--module", wasi]);
  assert.deepEqual([ran.status, ran.stdout], [1, header + opened]);
  assert.match(ran.stderr, /twice\.jsonl:3: the module trapped at the input of this line: /);
});

test("rejects a file that is not a module", async () => {
  const ran = await run(tool, ["upgrade-check", trace, wasi, trace]);
  assert.equal(ran.status, 2);
  assert.match(ran.stderr, /random\.jsonl: expected a WebAssembly module of Sidekick: /);
});

test("the WASI command passes the same tests, and rejects subcommands that need processes or a runtime", async () => {
  const command = [
    process.execPath,
    "--no-warnings",
    "--liftoff-only", // 270 short processes: compiling for speed takes longer than running
    `${root}tests/module/node-wasi.mjs`,
    `${root}build/sidekick-trace.wasm`,
  ];
  const ran = await run("sh", [`${root}tests/trace/trace_test.sh`, root, ...command]);
  assert.deepEqual(ran, { status: 0, stdout: "", stderr: "" });
  const [node, ...args] = command;
  const shrink = await run(node!, [...args, "shrink", "x", "-o", "y", "--until", "trap"]);
  assert.equal(shrink.status, 2);
  assert.match(shrink.stderr, /needs child processes, .* use the native sidekick-trace/);
  const check = await run(node!, [...args, "upgrade-check", "a", "b", "c"]);
  assert.equal(check.status, 2);
  assert.match(check.stderr, /has no runtime for modules: use a native build with wasmtime/);
});
