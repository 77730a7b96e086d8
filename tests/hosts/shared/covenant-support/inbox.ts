// Waiting for observable events instead of sleeping.

const waitMsMax = 120_000; // only to end a test that has failed, on however slow a machine; nothing is measured with it

export class Inbox<T> {
  readonly items: T[] = [];
  #waiting = new Set<() => void>();

  put(item: T): void {
    this.items.push(item);
    for (const look of [...this.#waiting]) look();
  }

  /** The first item that fits, whether it is here already or comes later. */
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
            `waited in vain for ${what}; came so far: ${JSON.stringify(this.items, null, 1)}`,
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
