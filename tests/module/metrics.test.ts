// GET /metrics is a function of the inputs: after each golden trace, every kind of hub answers with
// the same bytes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { compileModuleSync } from "../../worker/src/module/hub.ts";
import { Replayer } from "../../worker/src/module/replay.ts";
import { root, run, traces, wasmtime } from "./support.ts";

const build = `${root}build`;
const tool = `${build}/native/sidekick-trace`;
const modules = ["emscripten", "wasi"].map((name) => `${build}/sidekick.${name}.wasm`);
const commands = [
  [tool, "metrics"],
  ...modules.map((module) => [tool, "metrics", "--module", module]),
  [wasmtime, "run", "--dir", ".", `${build}/sidekick-trace.wasm`, "metrics"],
] as const;
const folder = `${root}tests/core/traces`;

function replayed(module: string, lines: readonly string[]): string {
  const replayer = new Replayer(compileModuleSync(readFileSync(module)));
  for (const line of lines) assert.equal(replayer.line(Buffer.from(line)), undefined, line);
  return replayer.metrics();
}

for (const trace of traces) {
  test(`the same metrics on every kind of hub: ${trace}`, async () => {
    const lines = readFileSync(`${folder}/${trace}`, "utf8").trimEnd().split("\n");
    const [expected, ...others] = modules.map((module) => replayed(module, lines));
    assert.match(expected!, /^# HELP sidekick_build_info /);
    for (const other of others) assert.equal(other, expected);
    for (const [file, ...args] of commands) {
      const ran = await run(file!, [...args, trace], folder);
      assert.deepEqual(
        ran,
        { status: 0, stdout: expected, stderr: "" },
        `${file} ${args.join(" ")}`,
      );
    }
  });
}

test("of a part of a recording, the metrics are those after its last input", async () => {
  const lines = readFileSync(`${folder}/observing.jsonl`, "utf8").trimEnd().split("\n");
  const inputs = lines.flatMap((line, at) => (line.startsWith('{"in":') ? [at] : []));
  const texts = new Set<string>();
  for (const end of inputs.slice(2, 20)) {
    const part = lines.slice(0, end);
    texts.add(replayed(modules[0]!, part));
  }
  assert.ok(texts.size > 10, "the metrics follow the inputs");
});
