// The client's knowledge of the hub, the state machine inside Sidekick: its epoch, its limits, and
// bounds of its time. Positions rest on these bounds. A bound that is too low costs a refetch. One
// that is too high loses a change for good.
import type { Welcome } from "./types.js";

/** A time of this client, on two clocks: each may jump or stop while a machine sleeps. */
export interface Moment {
  readonly wall: number;
  readonly steady: number;
}

export function moment(ago = 0): Moment {
  const wall = Date.now() - ago;
  return { wall, steady: (globalThis.performance?.now() ?? Date.now()) - ago };
}

/** Milliseconds since a moment, by the clock that counted more. */
export function since(then: Moment): number {
  const { wall, steady } = moment();
  return Math.max(wall - then.wall, steady - then.steady);
}

export const isBefore = (a: Moment, b: Moment) => a.steady < b.steady;

/** A Durable Object's pong may overtake frames that wait for its storage. */
const OUTPUT_GATE_MS = 2000;
/** Two clocks that drift by 500 ppm each. */
const DRIFT = 1e-3;
/** No Sidekick names more. */
const SPREAD_MS_MAX = 60_000;

export class HubClock {
  epoch = "";
  /** The largest so far: after a restart, the first client to return gets the smallest. */
  spreadMs = 0;
  frameBytesMax = Infinity;
  /** A stamp, and when it arrived: the hub's time was later by then. */
  #anchor: { readonly at: number; readonly arrived: Moment } | undefined;
  /** Whether a pong proves that all frames before it came. */
  #arePongsLast = true;
  /** When the unanswered pings of this socket were sent, the oldest first. */
  #pings: Moment[] = [];

  /** @returns whether earlier positions are invalid now */
  onWelcome(welcome: Welcome): boolean {
    const isOther = this.epoch !== welcome.epoch;
    this.epoch = welcome.epoch;
    // Not a number: the next waits would be none, and a Sidekick that is down would see no backoff.
    this.spreadMs = Math.max(this.spreadMs, Math.min(+welcome.spread_ms || 0, SPREAD_MS_MAX));
    this.frameBytesMax = welcome.frame_bytes_max;
    this.#arePongsLast = welcome.pong_at !== false;
    this.#pings = [];
    this.onStamp(welcome.at);
    return isOther;
  }

  /** For every stamped reply. */
  onStamp(at: number): void {
    this.#anchor = { at, arrived: moment() };
  }

  onPing(): void {
    this.#pings.push(moment());
  }

  /**
   * @param at the stamp of the pong; a Durable Object's is constant and has none
   * @returns a position: the client has everything up to it. 0: unknown
   */
  onPong(at = 0): number {
    // A pong answers the oldest ping at best, and proves nothing about later ones.
    const pinged = this.#pings.shift();
    if (!this.#arePongsLast) return 0;
    return at || (pinged ? this.bound(pinged) : 0);
  }

  /** A stamp that the hub's clock had certainly passed at this moment. 0: unknown. */
  bound(then: Moment): number {
    if (!this.#anchor) return 0;
    const { at, arrived } = this.#anchor;
    // By the clock that counted fewer.
    const distance = Math.min(then.wall - arrived.wall, then.steady - arrived.steady);
    const ms = distance - Math.abs(distance) * DRIFT - OUTPUT_GATE_MS;
    return Math.max(0, Math.floor(at + ms * 1000));
  }
}
