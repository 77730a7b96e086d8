// How long to wait before trying again.
import type { Settings } from "./types.js";

/** The browser reports this code if there was no close frame. */
export const ABNORMAL = 1006;
const GOING_AWAY = 1001;
const RESTART = 1012;
const TRY_LATER = 1013;

/** Full jitter: thousands of clients that lost the same Sidekick must not come back at once. */
export const jitter = (windowMs: number) => Math.random() * windowMs;

export const backoffMs = ({ baseMs, capMs }: Settings, attempt: number) =>
  Math.min(capMs, baseMs * 2 ** attempt);

/** A Sidekick that restarts or is full needs time, whatever the attempt. */
export function reconnectMs(settings: Settings, attempt: number, code: number, spreadMs: number) {
  let leastMs = 0;
  if (code === GOING_AWAY || code === RESTART)
    leastMs = Math.max(1500, Math.min(10_000, spreadMs / 4));
  else if (code === TRY_LATER) leastMs = 5000;
  return jitter(Math.max(leastMs, backoffMs(settings, attempt)));
}
