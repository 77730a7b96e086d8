// The object's recording: lines go into a ring of rows, and before the ring has turned over, a new
// recording is started with a new hub, because a replay does what a restored hub does.
import type { Recording } from "../session/io.js";
import type { TraceRing } from "./trace-ring.js";

export class RingRecording implements Recording {
  readonly #ring: TraceRing;
  readonly #bytesMax: number;
  readonly #renew: () => void;
  /** Bytes of the current recording that belong to its restore. */
  #restoredBytes = 0;

  /** @param renew called after each write: starts a new recording, in its own turn, if it is long */
  constructor(ring: TraceRing, bytesMax: number, renew: () => void) {
    this.#ring = ring;
    this.#bytesMax = bytesMax;
    this.#renew = renew;
  }

  get isActive(): boolean {
    return this.#ring.isOpen && !this.#isLongerThan(1);
  }

  /** Whether it is time for a new recording. */
  get isLong(): boolean {
    return this.#isLongerThan(0.5);
  }

  begin(firstLine: Uint8Array): void {
    this.#ring.begin(this.#bytesMax, firstLine);
    this.#restoredBytes = Infinity;
  }

  restored(): void {
    this.#ring.flush();
    this.#restoredBytes = this.#ring.bytes;
  }

  write(lines: Uint8Array): void {
    this.#ring.write(lines);
    this.#ring.flushSoon();
    this.#renew();
  }

  /** The restore does not count towards the limit: a long restore must not trigger the next one. */
  #isLongerThan(share: number): boolean {
    return this.#ring.bytes - this.#restoredBytes > share * this.#bytesMax;
  }
}
