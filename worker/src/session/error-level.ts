import type { ErrorCode } from "../module/border.generated.js";
import { ERROR_LEVELS } from "../module/border.generated.js";

/** At which level to log that a peer was told this. */
export function levelOf(code: ErrorCode | undefined): "warn" | "debug" {
  return code === undefined ? "debug" : ERROR_LEVELS[code];
}
