// Hands `updated` to the handlers, whose queries then run again.
import { jitter } from "./backoff.js";
import { isHidden } from "./page.js";
import type { Parts } from "./parts.js";
import { within } from "./queries.js";

/**
 * A Sidekick sends one frame per resource of a publish, back to back. A query that depends on
 * several of them runs once for all that arrive within this time.
 */
export const GATHER_MS = 10;

export class Refetches {
  readonly #parts: Parts;
  /** Announced with the next batch. */
  readonly #next = new Set<string>();
  /** The next batch is due, or waits for the queries of the previous one. */
  #isDue = false;
  /** Announced later, so that many clients do not run their queries at once. */
  readonly #later = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @param isSpread whether other clients do the same now */
  emit(names: readonly string[], isSpread = false): void {
    if (names.length === 0) return;
    for (const name of names) (isSpread ? this.#later : this.#next).add(name);
    if (isSpread)
      this.#timer ??= setTimeout(
        () => this.flush(),
        jitter(isHidden() ? this.#parts.options.hiddenMs : this.#parts.hub.spreadMs),
      );
    else this.#gather();
  }

  /** Announces the delayed names now: the page is visible. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const names = [...this.#later];
    this.#later.clear();
    this.emit(names);
  }

  #gather(): void {
    if (this.#isDue || this.#next.size === 0) return;
    this.#isDue = true;
    setTimeout(() => this.#tell(), GATHER_MS);
  }

  async #tell(): Promise<void> {
    const { server, options } = this.#parts;
    const names = [...this.#next];
    this.#next.clear();
    const emit = () => names.map((resource) => this.#parts.emit({ type: "updated", resource }));
    if (server) server.inBatch(emit);
    // The queries that an update causes are unknown here: they are taken to end with its handlers.
    else await within(Promise.all(emit()), options.refetchMs);
    this.#isDue = false;
    this.#gather();
  }
}
