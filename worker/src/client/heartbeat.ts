// Detects a dead socket: it pings, and some frame must come in time. The time of the last frame
// decides, never the fact that a timer fired: browsers delay the timers of hidden pages, and a
// machine may sleep. A busy socket is pinged, too: positions rest on pongs (hub-clock.ts).
import type { Moment } from "./hub-clock.js";
import { moment, since } from "./hub-clock.js";
import type { Settings } from "./types.js";

export class Heartbeat {
  readonly #settings: Settings;
  readonly #ping: () => void;
  readonly #onDead: () => void;
  /** Undefined: the socket is not live. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #heard: Moment = moment();
  /** When the latest ping was sent, or the socket became live. */
  #asked: Moment = moment();
  /** When the answer to a probe is due. Infinity: none is awaited. */
  #due = Infinity;

  constructor(settings: Settings, ping: () => void, onDead: () => void) {
    this.#settings = settings;
    this.#ping = ping;
    this.#onDead = onDead;
  }

  start(): void {
    this.onFrame();
    this.#asked = this.#heard;
    this.#beat();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** A frame came. */
  onFrame(): void {
    this.#heard = moment();
    this.#due = Infinity;
  }

  /** Probes the socket, unless a frame came just now. */
  suspect(): void {
    if (since(this.#heard) >= this.#settings.probeMs) this.probe();
  }

  probe(ms = this.#settings.probeMs): void {
    if (!this.#timer) return;
    const now = moment();
    // A new probe must not extend an unanswered one: an app may call wake() every second.
    if (this.#due <= now.steady + ms) return;
    this.#due = now.steady + ms;
    this.#asked = now;
    this.#ping();
    this.#after(ms, () => {
      if (this.#due === Infinity) return this.#beat();
      this.#due = Infinity;
      // If the timer came late, the answer may be waiting behind it.
      if (since(now) > 2 * ms) this.probe(ms);
      else this.#onDead();
    });
  }

  #beat(): void {
    const { pingMs, pongMs } = this.#settings;
    const leftMs = pingMs - since(this.#asked);
    if (leftMs > 0) this.#after(leftMs, () => this.#beat());
    else this.probe(pongMs);
  }

  #after(ms: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, ms);
  }
}
