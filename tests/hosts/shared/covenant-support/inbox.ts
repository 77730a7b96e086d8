// Waits for observable events instead of sleeping.

// only ends a test that has failed, on however slow a machine; it measures nothing
const waitMsMax = 120_000;

export class Inbox<T> {
  readonly items: T[] = [];
  #waiting = new Set<() => void>();

  put(item: T): void {
    this.items.push(item);
    for (const look of [...this.#waiting]) look();
  }

  /** The first matching item, received already or later. */
  find(what: string, fits: (item: T) => boolean): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const look = () => {
        const index = this.items.findIndex(fits);
        if (index === -1) return;
        done();
        resolve(this.items[index]!);
      };
      const timer = setTimeout(() => {
        done();
        reject(
          new Error(
            `timed out waiting for ${what}; received: ${JSON.stringify(this.items, null, 1)}`,
          ),
        );
      }, waitMsMax);
      this.#waiting.add(look);
      look();
    });
  }

  async count(what: string, count: number): Promise<T[]> {
    await this.find(`${count} of ${what}`, () => this.items.length >= count);
    return this.items;
  }
}
