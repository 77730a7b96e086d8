// A Sidekick of two gateways and two shards, and what tests of either do with it.
import assert from "node:assert/strict";
import type { WorkerdSidekick } from "./sidekick.ts";
import { post, start, TestClient } from "./sidekick.ts";

export const GATEWAYS = ["sidekick", "sidekick:g1"];
export const SHARDS = ["sidekick:s0", "sidekick:s1"];
export const SCALE = { SIDEKICK_GATEWAYS: "2", SIDEKICK_SHARDS: "2" };
/** Names on both shards, with any hash: all are on one with a chance of 2^-19. */
export const RESOURCES = Array.from({ length: 20 }, (_, i) => `todo/${i}`);
/** The log line about a shard that a test makes refuse. */
export const REFUSED = /the engine refused a call.*reason="a test refuses this script"/;

export const startScaled = (env: Readonly<Record<string, string>> = {}, limits = {}) =>
  start({ env: { ...SCALE, ...env }, limits });

/** A client of this gateway. */
export const at = ({ port }: WorkerdSidekick, gateway: number) =>
  TestClient.connect(port, { "test-gateway": String(gateway) });

export async function listen(client: TestClient, resources: readonly string[]): Promise<void> {
  client.send({ type: "listen", resources });
  assert.deepEqual(await client.next(), { type: "listening", resources });
}

export async function publish(
  { port }: WorkerdSidekick,
  resources: readonly string[],
): Promise<void> {
  const { status, body } = await post(port, "/resources", { resources });
  assert.equal(`${status} ${body}`, "200 OK");
}

/** In any order: shards do not know of each other. */
export async function updated(client: TestClient, resources: readonly string[]): Promise<void> {
  const names = new Set<string>();
  while (names.size < resources.length) {
    const { type, resource } = await client.next();
    assert.equal(type, "updated");
    names.add(resource);
  }
  assert.deepEqual([...names].sort(), [...resources].sort());
}

export async function sleep(
  sidekick: WorkerdSidekick,
  names = [...GATEWAYS, ...SHARDS],
): Promise<void> {
  for (const name of names) await sidekick.evict("hibernate", name);
}
