// What wrangler deploys: the Worker, the class of its Durable Object, and what that one calls.
export { default } from "./worker.js";
export { SidekickObject } from "./object.js";
export { AppServer } from "./app-server.js";
export type { Env } from "./settings.js";
