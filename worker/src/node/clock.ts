// The time the hub is given: the system's when this process started, and from then on counted by a clock that nobody sets. A
// system clock that jumps must not end tokens, nor hold up timers.

const startedAt = Date.now() - performance.now();

/** Milliseconds since the Unix epoch, whole ones; never goes back. */
export function now(): number {
  return Math.floor(startedAt + performance.now());
}
