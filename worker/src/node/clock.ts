// The hub's time: the system time when this process started, advanced by the monotonic clock. A
// jump of the system clock must not expire tokens or delay timers; a machine's sleep, during which
// the monotonic clock stands still, is time that passes.
import { uptime } from "node:os";

export interface Clocks {
  /** The system time in ms. Somebody may set it at any moment. */
  wall(): number;
  /** Ms since some moment, without sleep. */
  monotonic(): number;
  /** Ms since the machine's start, including sleep. */
  boot(): number;
}

/** Reading the boot's clock costs as much as a small input. */
const SLEEP_NOTICED_AFTER_MS = 1000;
/** Less than that is the clocks' different precision. */
const SLEEP_MS_MIN = 1000;

export function createClock({ wall, monotonic, boot }: Clocks): () => number {
  const startedAt = wall() - monotonic();
  const bootedAt = boot() - monotonic();
  let slept = 0;
  let lookAgainAt = 0;
  return () => {
    const awake = monotonic();
    if (awake >= lookAgainAt) {
      const missed = boot() - bootedAt - awake;
      if (missed > slept + SLEEP_MS_MIN) slept = missed;
      lookAgainAt = awake + SLEEP_NOTICED_AFTER_MS;
    }
    return Math.floor(startedAt + awake + slept);
  };
}

/** Whole milliseconds since the Unix epoch; never decreases. */
export const now = createClock({
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  boot: () => uptime() * 1000,
});
