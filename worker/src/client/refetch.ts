// Hands `updated` to the handlers, whose queries then run again.
import { jitter } from "./backoff.js";
import { isHidden } from "./page.js";
import type { Parts } from "./parts.js";
import { within } from "./queries.js";

export class Refetches {
  readonly #parts: Parts;
  /** Told later, so that many clients do not run their queries at once. */
  readonly #later = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Without `server`: told when the batch before has run. */
  readonly #next = new Set<string>();
  #isRunning = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @param isSpread whether other clients do the same now */
  emit(names: readonly string[], isSpread = false): void {
    if (names.length === 0) return;
    const spreadMs = isHidden() ? this.#parts.options.hiddenMs : this.#parts.hub.spreadMs;
    if (isSpread && spreadMs > 0) {
      for (const name of names) this.#later.add(name);
      this.#timer ??= setTimeout(() => this.flush(), jitter(spreadMs));
    } else if (this.#parts.server !== undefined) {
      this.#parts.server.inBatch(() => {
        for (const resource of names) void this.#parts.emit({ type: "updated", resource });
      });
    } else {
      for (const name of names) this.#next.add(name);
      if (!this.#isRunning) void this.#runInTurn();
    }
  }

  /** Tells now what was to be told later: the page is seen. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const names = [...this.#later];
    this.#later.clear();
    this.emit(names);
  }

  /** Without `server` nobody knows which queries an update causes: they end with the handlers. */
  async #runInTurn(): Promise<void> {
    this.#isRunning = true;
    while (this.#next.size > 0) {
      const batch = [...this.#next];
      this.#next.clear();
      const runs = batch.map((resource) => this.#parts.emit({ type: "updated", resource }));
      await within(Promise.all(runs), this.#parts.options.refetchMs);
    }
    this.#isRunning = false;
  }
}
