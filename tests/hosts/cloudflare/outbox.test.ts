// The queue of a shard's messages for one gateway, where calls of both meet in any order.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Delivered, Mail } from "../../../worker/src/cloudflare/outbox.ts";
import { Outbox } from "../../../worker/src/cloudflare/outbox.ts";

/** A shard that notes its deliveries: a gap, or the bodies of messages. Each waits for its end. */
class Shard implements Mail {
  readonly timeoutMs = 60_000;
  readonly delivered: string[] = [];
  readonly ends: (() => void)[] = [];
  gap: number | undefined;

  deliver(_: string, messages: readonly Delivered[], isGap: boolean): Promise<void> {
    const bodies = messages.map(({ body }) => new TextDecoder().decode(body));
    this.delivered.push(isGap ? "gap" : bodies.join());
    return new Promise((done) => this.ends.push(done));
  }

  storeGap(_: string, tries: number | undefined): void {
    this.gap = tries;
  }

  retryAt(): void {}
  report(): void {}
}

const message = (body: string): Delivered[] => {
  const encoder = new TextEncoder();
  return [{ topic: encoder.encode("a"), body: encoder.encode(body) }];
};

test("messages after a reconnect are delivered if it overtakes the end of the gap", async () => {
  const shard = new Shard();
  const outbox = new Outbox("0", shard, 0);
  outbox.retry(Date.now());
  assert.deepEqual(shard.delivered, ["gap"]);
  outbox.reset(); // the gateway reconnects because of the gap
  outbox.push(message("one"));
  shard.ends.shift()!();
  await turn();
  assert.deepEqual(shard.delivered, ["gap", "one"]);
  shard.ends.shift()!();
  await turn();
  assert.equal(shard.gap, undefined);
});

test("a gap after a reconnect is delivered if the last one ends only then", async () => {
  const shard = new Shard();
  const outbox = new Outbox("0", shard, 0);
  outbox.retry(Date.now());
  outbox.reset();
  outbox.push(message("x".repeat(2 << 20))); // more than is queued
  shard.ends.shift()!();
  await turn();
  assert.deepEqual(shard.delivered, ["gap", "gap"]);
  assert.equal(shard.gap, 0);
  shard.ends.shift()!();
  await turn();
  assert.equal(shard.gap, undefined);
});
