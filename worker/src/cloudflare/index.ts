// What wrangler deploys: the Worker, the class of its Durable Object, and what that one calls.

export { AppServer } from "./app-server.js";
export { SidekickObject } from "./object.js";
export type { Env } from "./settings.js";
export { default } from "./worker.js";
