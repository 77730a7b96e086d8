// The values of a family of metrics of the type histogram.

export class Histogram {
  readonly #bounds: readonly number[];
  /** By bound, each with the buckets below it. */
  readonly #counts: number[];
  #count = 0;
  #sum = 0;

  /** @param bounds in rising order, inclusive, without +Inf */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#bounds.forEach((bound, at) => {
      if (value <= bound) this.#counts[at]!++;
    });
    this.#count++;
    this.#sum += value;
  }

  /** The lines of the family, without HELP and TYPE. */
  text(name: string): string {
    const buckets = this.#bounds.map((le, at) => `${name}_bucket{le="${le}"} ${this.#counts[at]}`);
    return [
      ...buckets,
      `${name}_bucket{le="+Inf"} ${this.#count}`,
      `${name}_sum ${this.#sum}`,
      `${name}_count ${this.#count}\n`,
    ].join("\n");
  }
}
