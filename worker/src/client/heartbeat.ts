// Notices that a socket is dead: after a silence it pings, and some frame must come in time. The
// time of the last frame decides, never the fact that a timer fired: browsers delay the timers of
// hidden pages, and a machine may sleep.
import type { Moment } from "./hub-clock.js";
import { moment, most } from "./hub-clock.js";
import type { Settings } from "./types.js";

export class Heartbeat {
  readonly #settings: Settings;
  readonly #ping: () => void;
  readonly #onDead: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard: Moment = moment();
  /** When the answer to a probe is due. Undefined: none is awaited. */
  #due: number | undefined;

  constructor(settings: Settings, ping: () => void, onDead: () => void) {
    this.#settings = settings;
    this.#ping = ping;
    this.#onDead = onDead;
  }

  start(): void {
    this.stop();
    this.#heard = moment();
    this.#beat();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#due = undefined;
  }

  /** A frame came. */
  onFrame(): void {
    this.#heard = moment();
    this.#due = undefined;
  }

  /** The socket is suspect: probe it, unless a frame came just now. */
  suspect(): void {
    const { probeMs } = this.#settings;
    if (most(this.#heard, moment()) >= probeMs) this.probe(probeMs);
  }

  probe(ms: number): void {
    const asked = moment();
    // An unanswered probe may not be prolonged by the next one: an app may wake us every second.
    if (this.#due !== undefined && this.#due <= asked.steady + ms) return;
    this.#due = asked.steady + ms;
    this.#ping();
    this.#after(ms, () => {
      const isAnswered = this.#due === undefined;
      this.#due = undefined;
      if (isAnswered) this.#beat();
      // The timer came late, so the answer may be waiting behind it.
      else if (most(asked, moment()) > 2 * ms) this.probe(ms);
      else this.#onDead();
    });
  }

  #beat(): void {
    const { pingMs, pongMs } = this.#settings;
    const leftMs = pingMs - most(this.#heard, moment());
    if (leftMs > 0) this.#after(leftMs, () => this.#beat());
    else this.probe(pongMs);
  }

  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }
}
