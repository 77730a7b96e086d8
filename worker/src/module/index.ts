export type * from "./border.generated.js";
export { ABI_VERSION, INPUT_FIELDS, LIMITS } from "./border.generated.js";
export type { HubLike } from "./hub.js";
export {
  ConfigError,
  checkModule,
  compileModule,
  compileModuleSync,
  Hub,
  ModuleTrap,
  text,
} from "./hub.js";
export type { Bytes } from "./memory.js";
export type { Difference } from "./replay.js";
export { Replayer } from "./replay.js";
export type { WasmModule } from "./wasm.js";
