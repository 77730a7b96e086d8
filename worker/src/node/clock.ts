// The hub's time: the system time when this process started, advanced by the monotonic clock. A
// jump of the system clock must not expire tokens or delay timers.

const startedAt = Date.now() - performance.now();

/** Whole milliseconds since the Unix epoch; never decreases. */
export function now(): number {
  return Math.floor(startedAt + performance.now());
}
