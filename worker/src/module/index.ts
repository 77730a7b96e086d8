export { checkModule, compileModule, compileModuleSync, ConfigError, Hub, ModuleTrap, text } from "./hub.js";
export type { HubLike } from "./hub.js";
export { ABI_VERSION, INPUT_FIELDS, LIMITS } from "./border.generated.js";
export type * from "./border.generated.js";
export type { Bytes } from "./memory.js";
export { Replayer } from "./replay.js";
export type { Difference } from "./replay.js";
