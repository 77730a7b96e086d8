export type { EngineOptions } from "../engine/options.js";
export { readDefaultModule } from "./default-module.js";
export type { Log, LogFields, LogFormat, LogLevel } from "./log.js";
export { createLog, LOG_FORMATS, LOG_LEVELS } from "./log.js";
export type { Sidekick, SidekickOptions } from "./server.js";
export { startSidekick } from "./server.js";
