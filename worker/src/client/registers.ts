// The resources that the client listens to. A register, the entry of one resource, outlives
// sockets. It holds the position up to which the client knows every change, and the time from which
// it does: no query may have begun earlier.
import type { Moment } from "./hub-clock.js";
import { isBefore, moment } from "./hub-clock.js";
import type { Parts } from "./parts.js";
import type { Frame } from "./types.js";

const NAMES_PER_FRAME = 500;

/** A resource or a channel. */
export interface Item {
  /** The position up to which the client has everything. 0: unknown. */
  at: number;
  /** Missed messages that are still to come. 0: the item is live. Undefined: not confirmed yet. */
  due?: number | undefined;
}

interface Register extends Item {
  readonly name: string;
  /** Once the register is live, the client learns of every change after this. */
  from: Moment;
  /** It was live before: other clients may be reconnecting at the same time. */
  isReturning: boolean;
  /** The latest `listen` that names it; the reply to an older one is not enough. */
  listen?: object;
  /** When the client last learned of a change. */
  heard?: Moment;
}

export class Resources {
  readonly items = new Map<string, Register>();
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @param names the array object of the query's answer, if there is one */
  listen(names: readonly string[]): void {
    const { server, options, isLive, refetches } = this.#parts;
    const from = server?.began.get(names) ?? moment(options.queryMs);
    const asked: Register[] = [];
    const changed: string[] = [];
    for (const name of names) {
      const known = this.items.get(name);
      if (known?.heard && !isBefore(known.heard, from)) changed.push(name);
      else if (!known || isBefore(from, known.from)) {
        // Unknown, or this query is older than the one for which the client began to listen.
        const register = { name, from, at: 0, isReturning: false };
        this.items.set(name, register);
        asked.push(register);
      }
    }
    if (isLive) this.#ask(asked);
    refetches.emit(changed);
  }

  /** CovenantClient names every resource that it ever left, not only the current one. */
  unlisten(names: readonly string[]): void {
    const resources = names.filter((name) => this.items.delete(name));
    const { isLive, requests } = this.#parts;
    if (resources.length > 0 && isLive) requests.ask({ type: "unlisten", resources });
  }

  onUpdated(name: string | undefined): void {
    const register = this.items.get(name!);
    if (!register) return;
    register.heard = moment();
    this.#parts.refetches.emit([register.name]);
  }

  /** The connection is live. */
  resume(): void {
    const all = [...this.items.values()];
    this.#ask(all.filter(({ at }) => at > 0));
    this.#ask(all.filter(({ at }) => at === 0));
  }

  /** @param tries number of temporary rejections so far */
  #ask(registers: readonly Register[], tries = 0): void {
    for (let i = 0; i < registers.length; i += NAMES_PER_FRAME)
      this.#askFrame(registers.slice(i, i + NAMES_PER_FRAME), tries);
  }

  #askFrame(registers: readonly Register[], tries: number): void {
    const { hub, requests } = this.#parts;
    const since = Math.min(...registers.map(({ at, from }) => at || hub.bound(from)));
    const listen = {
      type: "listen",
      resources: registers.map(({ name }) => name),
      ...requests.since(since),
    };
    for (const register of registers) register.listen = listen;
    requests.ask(
      listen,
      (reply) => {
        if (reply.type === "error")
          this.#parts.complain(reply); // and try after the next welcome
        else this.#onListening(registers.filter(isCurrent), reply);
      },
      tries,
      () => this.#ask(registers.filter(isCurrent), tries + 1),
    );
    const { items } = this;
    /** Neither left nor asked for again. */
    function isCurrent(register: Register): boolean {
      return register.listen === listen && items.get(register.name) === register;
    }
  }

  #onListening(registers: readonly Register[], { recovered, changed, at = 0 }: Frame): void {
    const now: string[] = [];
    const spread: string[] = [];
    for (const register of registers) {
      const { name, isReturning } = register;
      if (!recovered || changed?.includes(name)) {
        register.heard = moment();
        (!recovered && isReturning ? spread : now).push(name);
      }
      Object.assign(register, { at, due: 0, isReturning: true });
    }
    this.#parts.refetches.emit(now);
    this.#parts.refetches.emit(spread, true);
  }
}
