// The module of this package, and the one way in which the Worker makes hubs of it. An instance per hub: objects of one class may
// share an isolate, and a trap in one must not touch another.
import module from "../../module/sidekick.wasm";
import type { HubLike } from "../module/hub.js";
import { Hub } from "../module/hub.js";
import type { HubSettings } from "./settings.js";

/** @throws ConfigError */
export function createHub(settings: HubSettings, hashSeed: string): HubLike {
  return Hub.create(
    module,
    JSON.stringify({ ...settings.limits, secrets: settings.secrets, hash_seed: hashSeed }),
  );
}

/** Unpredictable: resource names come from strangers, who must not be able to choose colliding ones. */
export function createHashSeed(): string {
  return [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
