// The resources that the client listens to. A register outlives sockets. It knows up to which
// position the client has heard of every change, and since when: no query may have begun earlier.
import { backoffMs, jitter } from "./backoff.js";
import type { Moment } from "./hub-clock.js";
import { isBefore, moment } from "./hub-clock.js";
import { isTemporary } from "./options.js";
import type { Parts } from "./parts.js";
import type { Frame } from "./types.js";

const NAMES_PER_FRAME = 500;

interface Register {
  readonly name: string;
  /** Every later change is heard of, once the register is live. */
  from: Moment;
  /** The client has heard of every change up to here. 0: of none. */
  at: number;
  /** The hub has confirmed it on this socket. */
  isLive: boolean;
  /** It was live before, as with every other client that comes back. */
  isReturning: boolean;
  /** The latest `listen` that names it; the reply to an older one says too little. */
  listen: object | undefined;
  /** When the client last heard of a change. */
  heard: Moment | undefined;
  /** How often the hub has put it off. */
  tries: number;
}

export class Resources {
  readonly #parts: Parts;
  readonly #registers = new Map<string, Register>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @param names the very array of a query's answer, where there is one */
  listen(names: readonly string[]): void {
    const { queries, options, connection, refetches } = this.#parts;
    const began = queries?.beganAt(names) ?? moment(options.queryMs);
    const asked: Register[] = [];
    const changed: string[] = [];
    for (const name of names) {
      const known = this.#registers.get(name);
      if (known === undefined) {
        const register: Register = {
          ...{ name, from: began, at: 0, heard: undefined, tries: 0 },
          ...{ isLive: false, isReturning: false, listen: undefined },
        };
        this.#registers.set(name, register);
        asked.push(register);
      } else if (known.heard !== undefined && !isBefore(known.heard, began)) {
        changed.push(name);
      } else if (isBefore(began, known.from)) {
        // This query is older than the one for which the client began to listen.
        Object.assign(known, { from: began, at: 0, isLive: false, isReturning: false });
        asked.push(known);
      }
    }
    if (connection.isLive) this.#ask(asked);
    refetches.emit(changed);
  }

  /** A CovenantClient names every resource that it has ever left. */
  unlisten(names: readonly string[]): void {
    const resources = names.filter((name) => this.#registers.delete(name));
    const { connection, requests } = this.#parts;
    if (resources.length > 0 && connection.isLive) requests.ask({ type: "unlisten", resources });
  }

  onUpdated(name: string | undefined): void {
    const register = this.#registers.get(name ?? "");
    if (register === undefined) return;
    register.heard = moment();
    this.#parts.refetches.emit([register.name]);
  }

  /** The connection is live. */
  resume(): void {
    const all = [...this.#registers.values()];
    this.#ask(all.filter(({ at }) => at > 0));
    this.#ask(all.filter(({ at }) => at === 0));
  }

  /** Everything up to this position was delivered on this socket. */
  advance(position: number): void {
    for (const register of this.#registers.values())
      if (register.isLive) register.at = Math.max(register.at, position);
  }

  onAbandon(): void {
    for (const register of this.#registers.values()) {
      register.isLive = false;
      register.listen = undefined;
    }
  }

  /** Positions mean nothing to this hub. */
  reset(): void {
    for (const register of this.#registers.values()) register.at = 0;
  }

  #ask(registers: readonly Register[]): void {
    for (let i = 0; i < registers.length; i += NAMES_PER_FRAME)
      this.#askFrame(registers.slice(i, i + NAMES_PER_FRAME));
  }

  #askFrame(registers: readonly Register[]): void {
    const { hub, requests } = this.#parts;
    const since = Math.min(...registers.map(({ at, from }) => at || hub.bound(from)));
    const listen = {
      type: "listen",
      resources: registers.map(({ name }) => name),
      ...(requests.isCapable && since > 0 && { since, epoch: hub.epoch }),
    };
    for (const register of registers) register.listen = listen;
    requests.ask(listen, (reply) => {
      const current = registers.filter((register) => this.#isCurrent(register, listen));
      if (reply.type === "error") this.#onError(current, listen, reply);
      else this.#onListening(current, reply);
    });
  }

  /** Neither left nor asked for again. */
  #isCurrent(register: Register, listen: object): boolean {
    return register.listen === listen && this.#registers.get(register.name) === register;
  }

  #onListening(registers: readonly Register[], { recovered, changed, at = 0 }: Frame): void {
    const heard = moment();
    const now: string[] = [];
    const spread: string[] = [];
    for (const register of registers) {
      const { name, isReturning } = register;
      if (recovered !== true || changed?.includes(name)) {
        register.heard = heard;
        (recovered !== true && isReturning ? spread : now).push(name);
      }
      Object.assign(register, { at, isLive: true, isReturning: true, tries: 0 });
    }
    this.#parts.refetches.emit(now);
    this.#parts.refetches.emit(spread, true);
  }

  #onError(registers: readonly Register[], listen: object, { code, error }: Frame): void {
    const { options, tell } = this.#parts;
    tell("problem", { message: error!.message, ...(code !== undefined && { code }) });
    if (!isTemporary(code) || registers.length === 0) return; // until the next welcome
    const tries = Math.max(...registers.map((register) => register.tries++));
    const again = () => this.#ask(registers.filter((one) => this.#isCurrent(one, listen)));
    setTimeout(again, jitter(backoffMs(options, tries)));
  }
}
