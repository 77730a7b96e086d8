// The golden traces on every kind of WASI player: replays are equal byte for byte, and a changed
// trace is detected.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inputCount, python, root, run, traces, wasmtime } from "./support.ts";

interface Player {
  readonly name: string;
  readonly command: readonly string[]; // followed by the traces
}

const build = `${root}build`;
const players: readonly Player[] = [
  {
    name: "the WASI command in wasmtime",
    command: [wasmtime, "run", "--dir", ".", `${build}/sidekick-trace.wasm`, "replay"],
  },
  {
    name: "the WASI command in node:wasi",
    command: [
      process.execPath,
      "--no-warnings",
      `${root}tests/module/node-wasi.mjs`,
      `${build}/sidekick-trace.wasm`,
      "replay",
    ],
  },
  {
    name: "wasi-sdk's module in wasmtime, from C++",
    command: [`${build}/native/sidekick-replay-wasmtime`, `${build}/sidekick.wasi.wasm`],
  },
  {
    name: "wasi-sdk's module in wasmtime, by the example in C++",
    command: [`${build}/native/sidekick-replay-example`, `${build}/sidekick.wasi.wasm`],
  },
  {
    name: "Emscripten's module in wasmtime, from C++",
    command: [`${build}/native/sidekick-replay-wasmtime`, `${build}/sidekick.emscripten.wasm`],
  },
  {
    name: "wasi-sdk's module in wasmtime, from Python",
    command: [python, `${root}tests/module/replay.py`, "module", `${build}/sidekick.wasi.wasm`],
  },
  {
    name: "the component in wasmtime, from Python",
    command: [
      python,
      `${root}tests/module/replay.py`,
      "component",
      `${build}/sidekick.component.wasm`,
    ],
  },
];

function replay(player: Player, files: readonly string[], cwd: string) {
  const [file, ...args] = player.command;
  return run(file!, [...args, ...files], cwd);
}

for (const player of players) {
  test(`golden traces are byte-equal: ${player.name}`, async () => {
    const ran = await replay(player, traces, `${root}tests/core/traces`);
    assert.equal(ran.stderr, "");
    assert.equal(ran.status, 0);
    // Checks the number of replayed inputs: a player that replays nothing must not count as equal.
    assert.equal(
      ran.stdout,
      traces.map((trace) => `${trace}: ${inputCount(trace)} inputs, the same\n`).join(""),
    );
  });
}

let folder = "";
let changedLine = 0;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "sidekick-wasi-"));
  const lines = readFileSync(`${root}tests/core/traces/channels.jsonl`, "utf8").split("\n");
  const write = (name: string, content: readonly string[]) =>
    writeFileSync(join(folder, name), content.join("\n"));
  const at = lines.findIndex((line) => line.startsWith('{"out":"send"'));
  const changed = lines.map((line, index) =>
    index === at ? line.replace("subscribed", "subscribes") : line,
  );
  assert.notDeepEqual(changed, lines);
  write("changed.jsonl", changed);
  write("missing.jsonl", lines.slice(0, at).concat(lines.slice(at + 1)));
  write("added.jsonl", lines.slice(0, at).concat(lines.slice(at, at + 1), lines.slice(at)));
  write("short.jsonl", lines.slice(0, at).concat(""));
  changedLine = at + 1;
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const player of players) {
  test(`detects a changed trace and names its line: ${player.name}`, async () => {
    for (const name of ["changed", "missing", "added"]) {
      const ran = await replay(player, [`${name}.jsonl`], folder);
      assert.equal(ran.status, 1, `${name}: ${ran.stdout}${ran.stderr}`);
      const line = name === "added" ? changedLine + 1 : changedLine;
      assert.match(ran.stderr, new RegExp(`^${name}\\.jsonl:${line}: `), name);
    }
  });

  test(`replays a truncated trace up to its end: ${player.name}`, async () => {
    const short = await replay(player, ["short.jsonl"], folder);
    assert.equal(short.status, 0, short.stderr);
    assert.match(
      short.stdout,
      new RegExp(
        `^short\\.jsonl: \\d+ inputs, the same\nshort\\.jsonl:${changedLine - 1}: the ` +
          "recording was cut off here; \\d more lines are due",
        "m",
      ),
    );
  });
}

test("the WASI command shows both sides and the hub's state, and rejects other files", async () => {
  writeFileSync(join(folder, "torn.jsonl"), '{"trace":2,"core":');
  writeFileSync(join(folder, "empty.jsonl"), "");
  for (const player of players.slice(0, 2)) {
    const changed = await replay(player, ["changed.jsonl"], folder);
    assert.match(
      changed.stderr,
      /expected: .*subscribes.*\n +got: .*subscribed.*\n +after the input of line \d+ the hub is: .*"clients":/,
    );
    for (const [name, text] of [
      ["torn", "expected a JSON object"],
      ["empty", "is empty; expected a trace"],
      ["none", "cannot be opened"],
    ] as const) {
      const ran = await replay(player, [`${name}.jsonl`], folder);
      assert.equal(ran.status, 2, `${player.name}: ${name}`);
      assert.match(ran.stderr, new RegExp(`${name}\\.jsonl.*${text}`));
    }
  }
});

test("the WASI command reads a line of 20 MB", async () => {
  const [header, ...lines] = readFileSync(`${root}tests/core/traces/http.jsonl`, "utf8").split(
    "\n",
  );
  const begin = JSON.parse(header!) as { config: Record<string, number> };
  Object.assign(begin.config, { http_body_bytes_max: 1 << 26, client_buffer_bytes_max: 1 << 27 });
  const at = lines.findIndex(
    (line) => line.includes('"path":"/resources"') && line.includes('"authorized":true'),
  );
  const input = JSON.parse(lines[at]!) as { body: string; body_bytes: number };
  input.body = input.body.replace(/ }$/, `, "more": "${"x".repeat(20_000_000)}" }`);
  input.body_bytes = input.body.length;
  assert.match(lines[at + 1]!, /"out":"respond".*"status":200/);
  writeFileSync(
    join(folder, "long.jsonl"),
    `${JSON.stringify(begin)}\n${JSON.stringify(input)}\n${lines[at + 1]}\n`,
  );
  for (const player of players.slice(0, 2)) {
    assert.deepEqual(
      await replay(player, ["long.jsonl"], folder),
      { status: 0, stdout: "long.jsonl: 1 inputs, the same\n", stderr: "" },
      player.name,
    );
  }
});

test("the component frees what it borrows and returns, and rejects a wrong configuration with a text", async () => {
  const ran = await run(python, [
    `${root}tests/module/component_memory.py`,
    `${build}/sidekick.component.wasm`,
  ]);
  assert.equal(ran.stderr, "");
  assert.equal(ran.status, 0);
  assert.equal(
    ran.stdout,
    'open: invalid configuration: "secrets" must be an array of 1 to 16 non-empty ' +
      "strings\nnothing leaks\n",
  );
});
