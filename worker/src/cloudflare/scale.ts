// The names of the objects that act as one hub: gateways, which hold the sockets, and shards, which
// order messages and keep tokens. Also the configuration of a hub in front of shards.
import { LIMITS } from "../module/border.generated.js";
import { ConfigError } from "../module/hub.js";
import type { SidekickObject } from "./object.js";
import type { Env, HubSettings, Scale } from "./settings.js";
import type { SidekickShard } from "./shard-object.js";

/** Identifies a gateway or shard of a hub. An object does not know its own place. */
export interface Place {
  readonly hub: string;
  readonly number: number;
}

/** Header of the Worker's requests with the gateway's number. */
export const GATEWAY_HEADER = "sidekick-gateway";

/** 16 hex digits: the same after each wake. */
export const nodeOf = (gateway: number) => gateway.toString(16).padStart(16, "0");
export const gatewayOf = (node: string) => Number.parseInt(node, 16);

/** The epoch of each shard. Positions depend on the number of shards. */
export const epochOf = ({ shards }: Scale) => `v1/${shards}`;

/** Gateway 0 has the name of the only object of a hub without shards. */
const gatewayName = ({ hub, number }: Place) => (number === 0 ? hub : `${hub}:g${number}`);

/**
 * The gateway's number in a request to the object with this id, or 0. While a version with gateways
 * is deployed, the former Worker, which knows none, may pass on a client's header with any number.
 */
export function numberIn(
  { headers }: Request,
  hub: string,
  { SIDEKICK }: Env,
  id: DurableObjectId,
): number {
  const number = Number(headers.get(GATEWAY_HEADER) ?? 0);
  return SIDEKICK.idFromName(gatewayName({ hub, number })).equals(id) ? number : 0;
}

export function gatewayStub(
  { SIDEKICK }: Env,
  gateway: Place,
  { locations }: Scale,
): DurableObjectStub<SidekickObject> {
  const locationHint = locations[gateway.number % locations.length];
  const options = locationHint === undefined ? {} : { locationHint };
  return SIDEKICK.getByName(gatewayName(gateway), options);
}

export function shardStub(env: Env, { hub, number }: Place): DurableObjectStub<SidekickShard> {
  return shardsOf(env).getByName(`${hub}:s${number}`);
}

/** @throws ConfigError if wrangler.jsonc has no class of the shards */
export function shardsOf({ SIDEKICK_SHARD }: Env): DurableObjectNamespace<SidekickShard> {
  if (SIDEKICK_SHARD !== undefined) return SIDEKICK_SHARD;
  throw new ConfigError(
    "SIDEKICK_SHARDS: wrangler.jsonc lacks the class of the shards: add to bindings of " +
      'durable_objects { "name": "SIDEKICK_SHARD", "class_name": "SidekickShard" } and to ' +
      'migrations { "tag": "v2", "new_sqlite_classes": ["SidekickShard"] }',
  );
}

/** The configuration of a hub in front of shards. */
export function scaledConfig(
  { config }: HubSettings,
  scale: Scale,
  node: string,
): Readonly<Record<string, unknown>> {
  return {
    engine_retry_ms: 1000,
    // Long, because each renewal of a held token would wake a gateway.
    engine_keep_ms: 24 * 3_600_000,
    // An object has 128 MB. A request with the largest body, 8 MiB, fits.
    parked_store_bytes_max: 12 << 20,
    engine_buffer_bytes_max: 2 << 20,
    ...config,
    engine_shards: scale.shards,
    engine_epoch: epochOf(scale),
    engine_lease_ms: 0,
    node,
  };
}

/** A limit of a hub, also for objects without a hub. The module has checked it. */
export function limitOf({ config }: HubSettings, name: keyof typeof LIMITS): number {
  return Number(config[name] ?? LIMITS[name].default);
}
