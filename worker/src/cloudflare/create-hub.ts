// The package's module, and the only place where the Worker creates hubs from it. Each hub gets its
// own instance: objects of one class may share an isolate, and a trap in one must not affect
// another.
import module from "../../module/sidekick.wasm";
import type { HubLike } from "../module/hub.js";
import { Hub } from "../module/hub.js";
import type { HubSettings } from "./settings.js";

/** @throws ConfigError */
export function createHub({ config }: HubSettings, hashSeed: string): HubLike {
  return Hub.create(module, JSON.stringify({ ...config, hash_seed: hashSeed }));
}
