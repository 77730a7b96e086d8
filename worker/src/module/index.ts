export type * from "./border.generated.js";
export {
  ABI_VERSION,
  ERROR_CODES,
  FORWARD_TIMEOUT_EXTRA_MS,
  FRAME_BYTES_OVER_MAX,
  INPUT_FIELDS,
  LIMITS,
  Outcome,
  REQUEST_HEADERS,
  VerdictKind,
} from "./border.generated.js";
export type { HubLike, Verdict } from "./hub.js";
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
