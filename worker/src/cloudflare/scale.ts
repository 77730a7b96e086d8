// The objects that act as one hub, by name: gateways, which hold the sockets, and shards, which
// order messages and keep tokens. And what a hub in front of shards has in its configuration.
import { LIMITS } from "../module/border.generated.js";
import { ConfigError } from "../module/hub.js";
import type { SidekickObject } from "./object.js";
import type { Env, HubSettings, Scale } from "./settings.js";
import type { SidekickShard } from "./shard-object.js";

/** Which of its hub's gateways or shards an object is. It does not know by itself. */
export interface Place {
  readonly hub: string;
  readonly number: number;
}

/** In a request from the Worker: the gateway's number. */
export const GATEWAY_HEADER = "sidekick-gateway";

/** 16 hex digits: the same after each wake. */
export const nodeOf = (gateway: number) => gateway.toString(16).padStart(16, "0");
export const gatewayOf = (node: string) => Number.parseInt(node, 16);

/** The epoch of each shard. With another number of shards, their positions mean something else. */
export const epochOf = ({ shards }: Scale) => `v1/${shards}`;

export function gatewayStub(
  { SIDEKICK }: Env,
  { hub, number }: Place,
  { locations }: Scale,
): DurableObjectStub<SidekickObject> {
  // Today's object, if there was only one before.
  const name = number === 0 ? hub : `${hub}:g${number}`;
  const locationHint = locations[number % locations.length];
  return SIDEKICK.getByName(name, locationHint === undefined ? {} : { locationHint });
}

export function shardStub(env: Env, { hub, number }: Place): DurableObjectStub<SidekickShard> {
  return shardsOf(env).getByName(`${hub}:s${number}`);
}

/** @throws ConfigError if wrangler.jsonc is one of before */
export function shardsOf({ SIDEKICK_SHARD }: Env): DurableObjectNamespace<SidekickShard> {
  if (SIDEKICK_SHARD !== undefined) return SIDEKICK_SHARD;
  throw new ConfigError(
    "SIDEKICK_SHARDS: wrangler.jsonc lacks the class of the shards: add to bindings of " +
      'durable_objects { "name": "SIDEKICK_SHARD", "class_name": "SidekickShard" } and to ' +
      'migrations { "tag": "v2", "new_sqlite_classes": ["SidekickShard"] }',
  );
}

/** Of a hub in front of shards. */
export function scaledConfig(
  { config }: HubSettings,
  scale: Scale,
  node: string,
): Readonly<Record<string, unknown>> {
  return {
    engine_retry_ms: 1000,
    // Nobody renews a hold more often, since that would wake a gateway.
    engine_keep_ms: 24 * 3_600_000,
    // An object has 128 MB.
    parked_store_bytes_max: 8 << 20,
    engine_buffer_bytes_max: 2 << 20,
    ...config,
    engine_shards: scale.shards,
    engine_epoch: epochOf(scale),
    engine_lease_ms: 0,
    node,
  };
}

/** A limit of a hub, also for objects that have none. The module has checked it. */
export function limitOf({ config }: HubSettings, name: keyof typeof LIMITS): number {
  return Number(config[name] ?? LIMITS[name].default);
}

/** Rejects after `ms`; the work goes on, unless it belongs to an object that ends. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: number | null = null;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer for ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
