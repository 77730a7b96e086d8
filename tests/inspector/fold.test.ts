// The state that the page shows: given to a new hub by the inputs that restore, it has the state
// hash of the hub that replayed the recording.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Fold, type State } from "../../worker/inspector/fold.ts";
import type { Recording } from "../../worker/inspector/recording.ts";
import type { Input } from "../../worker/src/module/border.generated.ts";
import { compileModuleSync, Hub, text } from "../../worker/src/module/hub.ts";
import { moduleBytes, root } from "./support/page.ts";
import { recordingOf } from "./support/recorder.ts";

const LINES = 20;
const module = compileModuleSync(moduleBytes);
const folder = join(root, "tests/core/traces");
const traces = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** A small generator, so that a failure can be repeated. */
let last = seed;
function random(below: number): number {
  last = (Math.imul(last, 1103515245) + 12345) >>> 0;
  return Math.floor((last / 2 ** 32) * below);
}

function hashOf(hub: Hub): string {
  return JSON.parse(text(hub.hash())).hash.state as string;
}

function newHub(recording: Recording, header: number): Hub {
  const line = recording.parse(recording.firstLine(header))!;
  const config = { ...(line["config"] as object), hash_seed: line["hash_seed"], secrets: ["s"] };
  return Hub.create(module, JSON.stringify(config));
}

/** The hub's hash after each group, and whether a restart would keep all that it covers. */
function hashes(recording: Recording, from: number, to: number): Map<number, string> {
  const found = new Map<number, string>();
  const hub = newHub(recording, from);
  const underWay = new Set<unknown>();
  let isRestored = false;
  for (let group = from + 1; group < to; group++) {
    const first = recording.firstLine(group);
    const line = recording.parse(first)!;
    const type = line["in"] as Input["type"];
    // The hub does not store what these inputs change.
    if (type === "draining" || type === "shutting_down") break;
    if (type === "restored") isRestored = true;
    if (type === "forward_done") underWay.delete(line["forward"]);
    const decoded = Object.fromEntries(
      Object.entries(line).map(([name, value]) => [name, bytes(value)]),
    );
    if (type === "http_request") {
      const authorized = line["authorized"];
      decoded["authorization"] =
        authorized === true ? "Bearer s" : authorized === false ? "Bearer x" : "";
    }
    hub.handle(line["now"] as number, { ...decoded, type } as unknown as Input);
    for (let at = first + 1; at < recording.endLine(group); at++) {
      const action = recording.parse(at)!;
      if (action["out"] === "forward") underWay.add(action["forward"]);
      if (action["out"] === "cancel_forward") underWay.delete(action["forward"]);
    }
    if (isRestored && underWay.size === 0) found.set(group, hashOf(hub));
  }
  return found;
}

function bytes(value: unknown): unknown {
  const base64 = (value as { base64?: unknown } | null)?.base64;
  return typeof base64 === "string" ? Buffer.from(base64, "base64") : value;
}

function restored(recording: Recording, header: number, now: number, state: State): Hub {
  const hub = newHub(recording, header);
  hub.handle(now, { type: "begin", epoch: 4711 });
  for (const [key, token] of state.tokens) {
    const { expiresAt: expires_at, record } = token;
    hub.handle(now, { type: "restore_token", state: token.state, expires_at, key, record });
  }
  for (const [client, { record }] of state.clients)
    hub.handle(now, { type: "restore_client", client, record });
  hub.handle(now, { type: "restored" });
  return hub;
}

function hasEngine(recording: Recording, header: number): boolean {
  const config = recording.parse(recording.firstLine(header))!["config"];
  return (config as Record<string, number>)["engine_shards"] !== 0;
}

const header = readFileSync(join(folder, "random.jsonl"), "utf8").split("\n")[0]!;
const open = (now: number, client: number): string =>
  `{"in":"client_opened","now":${now},"client":${client}}`;

describe("the state at any line", () => {
  for (const name of traces) {
    it(`${name}: ${LINES} random lines have the hub's own state hash (SEED=${seed})`, () => {
      const recording = recordingOf(readFileSync(join(folder, name)));
      const fold = new Fold(recording);
      fold.advance(true);
      const expected = new Map<number, string>();
      let hasOwn = false;
      recording.hubs.forEach((from, index) => {
        // A hub does not store what it knows of its engine.
        if (hasEngine(recording, from)) return;
        hasOwn = true;
        const to = recording.hubs[index + 1] ?? recording.groupCount;
        for (const [group, hash] of hashes(recording, from, to)) expected.set(group, hash);
      });
      const groups = [...expected.keys()];
      if (hasOwn) assert.ok(groups.length > 0, "no line can be compared");
      for (let count = 0; count < Math.min(LINES, groups.length); count++) {
        const group = groups[random(groups.length)]!;
        const { state } = fold.after(group);
        const { from } = recording.hubOf(group);
        const hub = restored(recording, from, recording.time(group), state);
        const line = recording.firstLine(group) + 1;
        assert.equal(hashOf(hub), expected.get(group), `after line ${line}`);
      }
    });
  }

  it("engine.jsonl: tokens that a client holds are those of its record", () => {
    const recording = recordingOf(readFileSync(join(folder, "engine.jsonl")));
    const fold = new Fold(recording);
    fold.advance(true);
    let held = 0;
    let isRestored = false;
    for (let group = 0; group < recording.groupCount; group++) {
      const { state } = fold.after(group);
      const kind = recording.kind(recording.firstLine(group));
      if (kind === "trace") isRestored = false;
      if (kind === "restored") isRestored = true;
      for (const [id, client] of state.clients) {
        for (const key of client.tokens) {
          held++;
          assert.equal(state.tokens.get(key)?.holder, id, `line ${recording.firstLine(group) + 1}`);
        }
      }
      for (const [key, token] of state.tokens) {
        // During a restore, its client may still come.
        if (token.state === 0 || !isRestored) continue;
        assert.ok(token.holder !== undefined, `${key} at line ${recording.firstLine(group) + 1}`);
      }
    }
    assert.ok(held > 0, `${held} held`);
  });

  it("a restored token belongs to the client that had it last", () => {
    const lines = [
      { trace: 2 },
      { in: "restore_token", now: 1, state: 2, expires_at: 0, key: "t", record: "{}" },
      {
        ...{ in: "restore_client", now: 1, client: 1 },
        record: '{ "tokens": ["t"], "resources": [] }\n{ "tokens_gone": ["t"] }',
      },
      { in: "restore_client", now: 1, client: 2, record: '{ "tokens": ["t"], "resources": [] }' },
    ].map((line) => `${JSON.stringify(line)}\n`);
    const recording = recordingOf(lines.join(""));
    const fold = new Fold(recording);
    fold.advance(true);
    assert.equal(fold.after(recording.groupCount - 1).state.tokens.get("t")?.holder, 2);
  });

  it("the state of the last input does not reach into the one before it", () => {
    const lines = [header, ...[1, 2, 3, 4].map((id) => open(id, id))];
    const recording = recordingOf(`${lines.join("\n")}\n`);
    const fold = new Fold(recording);
    fold.advance(true);
    for (const group of [2, 4, 3, 4, 2])
      assert.equal(fold.after(group).state.clients.size, group, `after group ${group}`);
  });

  it("a state from a checkpoint is that of a fold from the start", () => {
    const lines = [header];
    for (let client = 1; client <= 10_000; client++) {
      lines.push(open(client, client % 50));
      if (client % 3 === 0)
        lines.push(`{"in":"client_closed","now":${client},"client":${client % 50}}`);
    }
    const recording = recordingOf(`${lines.join("\n")}\n`);
    const fold = new Fold(recording);
    fold.advance(true);
    for (const group of [4095, 4096, 4097, 8191, 8192, 8193, recording.groupCount - 1]) {
      const open = new Map<number, number>();
      for (let at = 1; at <= group; at++) {
        const line = recording.firstLine(at);
        const id = Number(recording.parse(line)!["client"]);
        if (recording.kind(line) === "client_opened") open.set(id, line);
        else open.delete(id);
      }
      const { state } = fold.after(group);
      const found = [...state.clients].map(([id, client]) => [id, client.opened]);
      assert.deepEqual(new Map(found as [number, number][]), open);
    }
  });
});
