// The queues of a shard's messages for gateways, where calls of both meet in any order.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Delivered, Mail } from "../../../worker/src/cloudflare/outbox.ts";
import { Outboxes } from "../../../worker/src/cloudflare/outboxes.ts";
import type { Publication } from "../../../worker/src/module/shard.ts";

/** A shard that notes its deliveries: a gap, or the bodies of messages. Each waits for its end. */
class Shard implements Mail {
  readonly timeoutMs = 60_000;
  readonly outboxes = new Outboxes(this);
  readonly delivered: string[] = [];
  /** All that is under way or was delivered. */
  readonly bodies: Uint8Array[] = [];
  readonly ends: (() => void)[] = [];
  readonly fails: (() => void)[] = [];
  readonly gaps = new Map<string, number>();
  alarmAt = Infinity;
  hasFullDisk = false;

  deliver(gateway: string, messages: readonly Delivered[], isGap: boolean): Promise<void> {
    this.bodies.push(...messages.map(({ body }) => body));
    const bodies = messages.map(({ body }) => new TextDecoder().decode(body.subarray(0, 20)));
    const to = gateway === "0" ? "" : `${gateway}: `;
    this.delivered.push(to + (isGap ? "gap" : bodies.join()));
    return new Promise((done, fail) => {
      this.ends.push(done);
      this.fails.push(() => fail(new Error("a test cuts the connection")));
    });
  }

  storeGap(gateway: string, tries: number | undefined): void {
    if (this.hasFullDisk) throw new Error("a test fills the disk");
    if (tries === undefined) this.gaps.delete(gateway);
    else this.gaps.set(gateway, tries);
  }

  retryAt(at: number): void {
    this.alarmAt = Math.min(this.alarmAt, at);
  }

  report(): void {}

  /** Ends each delivery, and those that follow. */
  async endAll(): Promise<void> {
    while (this.ends.length > 0) {
      this.ends.shift()!();
      await turn();
    }
  }
}

const message = (body: string, nodes: readonly string[] = ["0"]): Publication[] => {
  const encoder = new TextEncoder();
  return [{ nodes, topic: encoder.encode("a"), body: encoder.encode(body) }];
};

test("messages after a reconnect are delivered if it overtakes the end of a gap", async () => {
  const shard = new Shard();
  const { outboxes } = shard;
  outboxes.restore("0", 0);
  outboxes.retry(Date.now());
  assert.deepEqual(shard.delivered, ["gap"]);
  outboxes.reset("0"); // the gateway reconnects because of the gap
  outboxes.push(message("one"));
  shard.ends.shift()!();
  await turn();
  assert.deepEqual(shard.delivered, ["gap", "one"]);
  shard.ends.shift()!();
  await turn();
  assert.equal(shard.gaps.size, 0);
});

test("a gap after a reconnect is delivered, even if the gap before ends only then", async () => {
  const shard = new Shard();
  const { outboxes } = shard;
  outboxes.restore("0", 0);
  outboxes.retry(Date.now());
  outboxes.reset("0");
  outboxes.push(message("x".repeat(2 << 20))); // more than is queued
  shard.ends.shift()!();
  await turn();
  assert.deepEqual(shard.delivered, ["gap", "gap"]);
  assert.equal(shard.gaps.get("0"), 0);
  shard.ends.shift()!();
  await turn();
  assert.equal(shard.gaps.size, 0);
});

test("an alarm is set for each stored gap, as the shard may end before its delivery", async () => {
  const late = new Shard();
  for (const { outbox } of late.outboxes.push(message("one"))) outbox.noteLate();
  const full = new Shard();
  full.outboxes.push(message("one"));
  full.outboxes.push(message("x".repeat(2 << 20)));
  for (const shard of [late, full]) {
    assert.equal(shard.gaps.get("0"), 0);
    assert.ok(shard.alarmAt > Date.now() + shard.timeoutMs, "after the delivery");
    assert.ok(shard.alarmAt < Infinity, "an alarm is set");
  }
  for (const shard of [late, full]) {
    shard.alarmAt = Infinity; // it has fired
    shard.outboxes.retry(Date.now());
    assert.ok(shard.alarmAt < Infinity, "it is set again");
    await shard.endAll();
  }
});

test("a gap that cannot be stored is delivered from memory", async () => {
  const shard = new Shard();
  shard.hasFullDisk = true;
  shard.outboxes.push(message("one"));
  shard.fails.shift()!();
  await turn();
  assert.ok(shard.alarmAt < Infinity, "an alarm is set");
  assert.equal(shard.outboxes.push(message("two")).length, 0);
  shard.outboxes.retry(shard.alarmAt);
  assert.deepEqual(shard.delivered, ["one", "gap"]);
  await shard.endAll();
});

test("gateways share the bytes of a message", async () => {
  const shard = new Shard();
  const gateways = Array.from({ length: 256 }, (_, i) => String(i));
  const [published] = message("x".repeat(1 << 20), gateways);
  assert.equal(shard.outboxes.push([published!]).length, 256);
  // A call has a copy of its messages, so not all go at once. A small one does not wait.
  assert.equal(shard.bodies.length, 15);
  shard.outboxes.push(message("small", ["another"]));
  assert.equal(shard.delivered.at(-1), "another: small");
  shard.outboxes.push(message("after it"));
  const held = shard.outboxes.heldBytes;
  assert.ok(held < 2 << 20, `${held}`);
  await shard.endAll();
  const bodies = shard.bodies.filter(({ byteLength }) => byteLength > 100);
  assert.equal(bodies.length, 256);
  assert.ok(shard.delivered.includes("after it"), "it waits for the one before");
  for (const body of bodies) assert.equal(body, published!.body);
  assert.equal(shard.gaps.size, 0);
  assert.equal(shard.outboxes.heldBytes, 0);
});

test("a message that waits for its turn is not delivered after a reconnect", async () => {
  const shard = new Shard();
  const gateways = Array.from({ length: 16 }, (_, i) => String(i));
  shard.outboxes.push(message("x".repeat(1 << 20), [...gateways].reverse()));
  shard.outboxes.reset("0"); // the last one, which waits
  shard.outboxes.push(message("next"));
  await shard.endAll();
  assert.deepEqual(
    shard.delivered.filter((text) => !text.includes(":")),
    ["next"],
  );
  assert.equal(shard.outboxes.heldBytes, 0);
});

test("all queues share a limit: the longest is dropped, and its gateway gets a gap", async () => {
  const shard = new Shard();
  const slow = Array.from({ length: 40 }, (_, i) => `slow-${i}`);
  const lengths = new Map(slow.map((gateway, i) => [gateway, 500_000 - i]));
  for (const gateway of slow) shard.outboxes.push(message("first", [gateway]));
  for (const gateway of slow.slice(0, 33))
    shard.outboxes.push(message("x".repeat(lengths.get(gateway)!), [gateway]));
  assert.equal(shard.gaps.size, 0);
  for (const gateway of slow.slice(33))
    shard.outboxes.push(message("x".repeat(lengths.get(gateway)!), [gateway]));
  assert.deepEqual([...shard.gaps.keys()], slow.slice(0, 7));
  // Others still get their messages, and nothing is left behind.
  shard.outboxes.push(message("y".repeat(1 << 20)));
  assert.equal(shard.delivered.at(-1), "y".repeat(20));
  shard.delivered.length = 0;
  await shard.endAll();
  const gaps = shard.delivered.filter((text) => text.endsWith("gap"));
  assert.deepEqual(
    gaps.sort(),
    [...slow.slice(0, 9)].sort().map((gateway) => `${gateway}: gap`),
  );
  assert.equal(shard.delivered.length, 40);
  assert.equal(shard.gaps.size, 0);
  assert.equal(shard.outboxes.heldBytes, 0);
});

test("a message that exceeds the limit of all queues is a gap for its gateway", async () => {
  const shard = new Shard();
  for (let i = 0; i < 16; i++) shard.outboxes.push(message("x".repeat(1_000_000), [`slow-${i}`]));
  shard.outboxes.push(message("y".repeat(1_000_000)));
  assert.equal(shard.delivered.at(-1), "gap");
  await shard.endAll();
});
