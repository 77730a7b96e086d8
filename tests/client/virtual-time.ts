// A clock that stands still until the next timer: hours pass in milliseconds, and a seed decides
// everything. It replaces the timers, clocks and random numbers of this process.

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  isCancelled: boolean;
}

/** Browsers and Node run a timer that is set for longer at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const realImmediate = setImmediate;
const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  dateNow: Date.now,
  performanceNow: performance.now,
  random: Math.random,
  getRandomValues: crypto.getRandomValues,
};

/** Mulberry32: small, and good enough for faults. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** In [0, 1). */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let value = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }
}

export class VirtualTime {
  /** Milliseconds since the start. */
  now = 0;
  /** What `Date.now()` says beyond it: tests step it. */
  wallOffset = 0;
  readonly dice: Dice;
  readonly #heap: Timer[] = [];
  #order = 0;

  constructor(seed: number) {
    this.dice = new Dice(seed);
  }

  /** Until `restore`, this process lives in this time. */
  install(): void {
    const set = (run: (...values: unknown[]) => void, ms = 0, ...values: unknown[]) =>
      this.after(ms > TIMER_MS_MAX ? 1 : ms, () => run(...values));
    Object.assign(globalThis, {
      setTimeout: set,
      clearTimeout: (timer: Timer | undefined) => {
        if (timer !== undefined) timer.isCancelled = true;
      },
    });
    Date.now = () => 1_790_000_000_000 + Math.floor(this.now + this.wallOffset);
    performance.now = () => this.now;
    Math.random = this.dice.next;
    crypto.getRandomValues = ((array: Uint8Array | Uint32Array) => {
      for (let i = 0; i < array.length; i++) array[i] = Math.floor(this.dice.next() * 2 ** 32);
      return array;
    }) as typeof crypto.getRandomValues;
  }

  restore(): void {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    Date.now = real.dateNow;
    performance.now = real.performanceNow;
    Math.random = real.random;
    crypto.getRandomValues = real.getRandomValues;
  }

  after(ms: number, run: () => void): Timer {
    const at = this.now + Math.max(0, ms);
    const timer = { at, order: this.#order++, run, isCancelled: false };
    this.#push(timer);
    return timer;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.after(ms, resolve));
  }

  /** Runs all timers up to a time, each with all that follows from it in microtasks. */
  async runUntil(end: number): Promise<void> {
    await new Promise((resolve) => realImmediate(resolve));
    while (this.#heap.length > 0 && this.#heap[0]!.at <= end) {
      const timer = this.#pop();
      if (timer.isCancelled) continue;
      this.now = timer.at;
      timer.run();
      await new Promise((resolve) => realImmediate(resolve));
    }
    this.now = end;
  }

  /** How many timers are set. */
  get pending(): number {
    return this.#heap.filter((timer) => !timer.isCancelled).length;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isEarlier(timer, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = timer;
  }

  #pop(): Timer {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isEarlier(heap[child + 1]!, heap[child]!)) child++;
      if (!isEarlier(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isEarlier(a: Timer, b: Timer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
