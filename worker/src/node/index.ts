export { readDefaultModule, startSidekick } from "./server.js";
export type { Sidekick, SidekickOptions } from "./server.js";
export { createLog, LOG_LEVELS } from "./log.js";
export type { Log, LogFields, LogLevel } from "./log.js";
