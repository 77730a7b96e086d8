// The exports that wrangler deploys: the Worker, the Durable Object's class, and the entrypoint the
// object calls.

export { AppServer } from "./app-server.js";
export { SidekickObject } from "./object.js";
export type { Env } from "./settings.js";
export { SidekickShard } from "./shard-object.js";
export { default } from "./worker.js";
