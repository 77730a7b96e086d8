// shard.wasm through its class, as a host uses it.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { ModuleTrap, text } from "../../worker/src/module/hub.js";
import { Shard, type ShardConfig, type ShardRow } from "../../worker/src/module/shard.js";
import { root, run } from "./support.js";

const config: ShardConfig = { hashSeed: "0123456789abcdef" };
const durable: ShardConfig = { ...config, epoch: "v1/16" };
const now = 1_790_000_000_000_000;
const modules = ["emscripten", "wasi"].map((toolchain) => {
  const path = `${root}build/${toolchain}/shard.wasm`;
  assert.ok(existsSync(path), `${path} is missing: run scripts/build`);
  return [toolchain, new WebAssembly.Module(readFileSync(path))] as const;
});

function texts(values: readonly Uint8Array[]): string[] {
  return values.map(text);
}

function heard(shard: Shard): string[] {
  return shard
    .takePublications()
    .flatMap(({ nodes, topic, body }) =>
      nodes.map((node) => `${node} ${text(topic)}: ${text(body)}`),
    );
}

/** As sidekick-shard-calls writes them. */
function hex(bytes: Uint8Array): string {
  return bytes.byteLength === 0 ? "." : Buffer.from(bytes).toString("hex");
}

function unhex(text: string): Uint8Array {
  return Buffer.from(text === "." ? "" : text, "hex");
}

/** Makes the call of a line, and returns its result as the line has it. */
function replay(shard: Shard, call: string, at: number, args: Uint8Array[]): string {
  const [first, ...rest] = args;
  const status = (isDone: boolean) => ({ status: isDone ? 0 : 1, values: [] as Uint8Array[] });
  const done = (body: () => void) => {
    body();
    return status(true);
  };
  const calls: Record<string, () => { status: number; values: Uint8Array[] }> = {
    run: () => shard.run(at, first!, rest),
    attach: () => done(() => shard.attach(first!)),
    detach: () => done(() => shard.detach(first!)),
    join: () => status(shard.join(first!, rest)),
    leave: () => status(shard.leave(first!, rest)),
    replaceJoins: () => status(shard.replaceJoins(first!, rest)),
    joined: () => ({ ...status(shard.isAttached(first!)), values: shard.joined(first!) }),
    tick: () => done(() => shard.tick(at)),
    restore: () => status(shard.restore(first!, rest[0]!)),
    restored: () => done(() => shard.restored(at)),
  };
  const answer = calls[call]!();
  const list = (texts: string[], each: number) => [texts.length / each, ...texts];
  const publications = shard.takePublications();
  return [
    answer.status,
    shard.alarmAt(),
    shard.storedBytes(),
    ...list(answer.values.map(hex), 1),
    publications.length,
    ...publications.flatMap(({ nodes, topic, body }) => [
      ...[nodes.length, ...nodes.map((node) => hex(Buffer.from(node)))],
      ...[hex(topic), hex(body)],
    ]),
    ...list(
      shard.takeRows().flatMap(({ key, value }) => [hex(key), value ? hex(value) : "-"]),
      2,
    ),
  ].join(" ");
}

for (const [toolchain, module] of modules) {
  test(`${toolchain}: random calls give the same bytes as natively (SEED=)`, async () => {
    const seeds = process.env["SEED"] ? [process.env["SEED"], process.env["SEED"]] : ["1", "40"];
    const { status, stdout } = await run(`${root}build/native/sidekick-shard-calls`, seeds);
    assert.equal(status, 0);
    let shard: Shard | undefined;
    let calls = 0;
    for (const line of stdout.trimEnd().split("\n")) {
      const [made, expected] = line.split(" = ");
      const [call, at, ...args] = made!.split(" ");
      if (call === "new") {
        const epoch = text(unhex(args[0]!));
        const limits = { bytesMax: 3000, runBytesMax: 60 };
        shard = new Shard(module, "v1", { hashSeed: "0000000000000007", ...limits, epoch });
      } else {
        calls++;
        assert.equal(replay(shard!, call!, Number(at), args.map(unhex)), expected, line);
      }
    }
    assert.ok(calls > 10_000, `only ${calls} calls`);
  });

  test(`${toolchain}: scripts give values, and nodes get what they have joined`, () => {
    const shard = new Shard(module, "p1", config);
    shard.attach("A");
    assert.equal(shard.isAttached("A"), true);
    assert.equal(shard.isAttached("B"), false);
    assert.equal(shard.join("A", ["x", "y"]), true);
    assert.equal(shard.join("B", ["x"]), false);
    const epoch = shard.run(now, "sync", ["A", "e1", "", "", "0"]);
    assert.deepEqual(texts(epoch.values), ["e1", "p1", String(now + 1_000_000)]);
    shard.run(now, "update", ["9", "x", "z"]);
    shard.run(now, "message", ["y", new Uint8Array([0xff, 0, 0x31]), "9", "0", "0"]);
    const [first, second] = shard.takePublications();
    assert.equal(text(first!.topic), "x");
    assert.equal(text(first!.body), String(now + 1_000_001));
    assert.deepEqual([...second!.body.slice(-4)], [0x20, 0xff, 0, 0x31]);
    assert.deepEqual(heard(shard), []);
    assert.deepEqual(texts(shard.joined("A")), ["x", "y"]);
    assert.equal(shard.leave("A", ["x"]), true);
    assert.equal(shard.replaceJoins("A", ["z"]), true);
    assert.deepEqual(texts(shard.joined("A")), ["z"]);
    shard.detach("A");
    assert.equal(shard.isAttached("A"), false);
    assert.ok(shard.storedBytes() > 0, "something is stored");
    assert.deepEqual(shard.takeRows(), []);
    assert.equal(shard.run(now, "flushall", []).status, 1);
  });

  test(`${toolchain}: the nodes that get a message share its bytes`, () => {
    const nodes = Array.from({ length: 256 }, (_, i) => String(i).padStart(16, "0"));
    const shard = new Shard(module, "p1", config);
    for (const node of nodes) {
      shard.attach(node);
      shard.join(node, ["x"]);
    }
    shard.run(now, "message", ["x", new Uint8Array(1 << 20), "9", "0", "0"]);
    const publications = shard.takePublications();
    assert.equal(publications.length, 1);
    assert.deepEqual(publications[0]!.nodes, nodes);
    assert.ok(shard.memoryBytes < 8 << 20, `${shard.memoryBytes} bytes`);
  });

  test(`${toolchain}: a durable shard is restored from its rows`, () => {
    const rows = new Map<string, ShardRow>();
    const store = (shard: Shard) => {
      for (const row of shard.takeRows()) {
        const key = Buffer.from(row.key).toString("latin1");
        if (row.value === undefined) rows.delete(key);
        else rows.set(key, row);
      }
    };
    const start = () => {
      const shard = new Shard(module, "v1", durable);
      const sorted = [...rows.values()].sort((a, b) => Buffer.compare(a.key, b.key));
      for (const { key, value } of sorted) assert.equal(shard.restore(key, value!), true);
      shard.restored(now);
      store(shard);
      return shard;
    };
    const first = start();
    first.attach("A");
    first.run(now, "beat", ["A", "0", "1"]);
    assert.match(heard(first)[0]!, /^A : beat 1 0 \d+ v1\/16$/);
    first.run(now, "register", ["T", "R", "90000"]);
    assert.equal(text(first.run(now, "claim", ["T", "A", "s", "90000"]).values[0]!), "ok");
    store(first);
    assert.ok(first.alarmAt() > now / 1000 + 90_000, "the alarm is late enough");

    const second = start();
    assert.equal(second.isAttached("A"), true);
    assert.equal(second.alarmAt(), first.alarmAt());
    assert.deepEqual(
      second
        .holds()
        .map(({ token, node, session, expiresAt }) => [
          ...[text(token), node, text(session), expiresAt],
        ]),
      [["T", "A", "s", now / 1000 + 90_000]],
    );
    second.run(now, "update", ["9", "x"]);
    assert.equal(heard(second).length, 1);
    second.tick(second.alarmAt() * 1000);
    store(second);
    assert.deepEqual(second.holds(), []);
    assert.equal(second.alarmAt(), 0);
    const third = new Shard(module, "v1", durable);
    assert.equal(third.restore(new Uint8Array([0x7a]), new Uint8Array(0)), false);
  });

  test(`${toolchain}: a host that breaks the order of a restore gets a trap, and keeps getting it`, () => {
    const shard = new Shard(module, "v1", durable);
    assert.throws(() => shard.run(now, "changed", ["", "", "x"]), ModuleTrap);
    assert.throws(() => shard.restored(now), ModuleTrap);
    const other = new Shard(module, "v1", durable);
    other.restored(now);
    assert.throws(() => other.restore(new Uint8Array([0x7a]), new Uint8Array(0)), ModuleTrap);
  });
}

test("a shard needs its own module, and a seed of 16 hex digits", () => {
  const hub = new WebAssembly.Module(readFileSync(`${root}worker/module/sidekick.wasm`));
  assert.throws(() => new Shard(hub, "p1", config), /export sidekick_shard_handle is missing/);
  for (const hashSeed of ["", "0123", "0123456789abcdeg", "0123456789ABCDEF"])
    assert.throws(() => new Shard(modules[0]![1], "p1", { hashSeed }), /16 hex digits/);
});
