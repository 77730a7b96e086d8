// The outboxes of a shard. Gateways that get the same message share its bytes, and all outboxes
// together hold a limited number of them: an object has 128 MB.
import type { Publication } from "../module/shard.js";
import type { Delivered, Mail } from "./outbox.js";
import { Outbox, sizeOf } from "./outbox.js";

const HELD_BYTES_MAX = 16 << 20;
/** Of all deliveries under way: each call has a copy of its messages. A larger one goes alone. */
const UNDER_WAY_BYTES_MAX = 16 << 20;
/** A delivery up to this size never waits: 256 gateways may have one. */
const SMALL_BYTES_MAX = UNDER_WAY_BYTES_MAX / 256;

/** Messages that were queued for a gateway. */
export interface Pushed {
  readonly outbox: Outbox;
  /** Resolves when they are delivered or have failed. */
  readonly done: Promise<void>;
}

export class Outboxes {
  readonly #mail: Mail;
  readonly #outboxes = new Map<string, Outbox>();
  /** The number of outboxes that hold a message. */
  readonly #holders = new Map<Delivered, number>();
  #heldBytes = 0;
  #underWayBytes = 0;
  /** Deliveries that wait for others to end, the first one first. */
  readonly #waiting: { readonly bytes: number; readonly begin: () => void }[] = [];

  constructor(mail: Mail) {
    this.#mail = mail;
  }

  /** A gap was pending when the shard ended, after so many failed deliveries. */
  restore(gateway: string, tries: number): void {
    this.#outboxes.set(gateway, new Outbox(gateway, this.#mail, this, tries));
  }

  /** Of all messages that wait or are under way. Those for several gateways count once. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  push(publications: readonly Publication[]): Pushed[] {
    const mail = new Map<string, Delivered[]>();
    for (const { nodes, topic, body } of publications) {
      const message = { topic, body };
      for (const node of nodes) {
        const messages = mail.get(node);
        if (messages === undefined) mail.set(node, [message]);
        else messages.push(message);
      }
    }
    return [...mail].flatMap(([gateway, messages]) => {
      const outbox = this.#of(gateway);
      const done = outbox.push(messages);
      return done === undefined ? [] : [{ outbox, done }];
    });
  }

  /** Delivers the gaps of earlier failures, if it is time to. */
  retry(now: number): void {
    for (const outbox of this.#outboxes.values()) outbox.retry(now);
  }

  /** The gateway has reconnected, and asks for the messages that it missed. */
  reset(gateway: string): void {
    this.#outboxes.get(gateway)?.reset();
  }

  #of(gateway: string): Outbox {
    const outbox = this.#outboxes.get(gateway) ?? new Outbox(gateway, this.#mail, this);
    this.#outboxes.set(gateway, outbox);
    return outbox;
  }

  // --- for outboxes ---

  hold(messages: readonly Delivered[]): void {
    for (const message of messages) {
      const holders = this.#holders.get(message) ?? 0;
      this.#holders.set(message, holders + 1);
      if (holders === 0) this.#heldBytes += sizeOf(message);
    }
  }

  release(messages: readonly Delivered[]): void {
    for (const message of messages) {
      const holders = this.#holders.get(message)! - 1;
      if (holders > 0) {
        this.#holders.set(message, holders);
        continue;
      }
      this.#holders.delete(message);
      this.#heldBytes -= sizeOf(message);
    }
  }

  /** Drops queues until the limit holds: the longest first, and the one that grows last. */
  makeRoom(growing: Outbox): void {
    if (this.#heldBytes <= HELD_BYTES_MAX) return;
    const slow = [...this.#outboxes.values()].filter((outbox) => outbox.isSending);
    slow.sort((a, b) => b.queuedBytes - a.queuedBytes);
    for (const outbox of [...slow, growing]) {
      if (this.#heldBytes <= HELD_BYTES_MAX) return;
      outbox.drop();
    }
  }

  /** @returns resolves when a delivery of so many bytes may begin; undefined: it may now */
  begin(bytes: number): Promise<void> | undefined {
    if (this.#mayBegin(bytes)) {
      this.#underWayBytes += bytes;
      return undefined;
    }
    return new Promise((resolve) => this.#waiting.push({ bytes, begin: resolve }));
  }

  /** A delivery of so many bytes has ended. */
  end(bytes: number): void {
    this.#underWayBytes -= bytes;
    while (this.#waiting.length > 0 && this.#mayBegin(this.#waiting[0]!.bytes)) {
      const next = this.#waiting.shift()!;
      this.#underWayBytes += next.bytes;
      next.begin();
    }
  }

  #mayBegin(bytes: number): boolean {
    const sum = this.#underWayBytes + bytes;
    return bytes <= SMALL_BYTES_MAX || this.#underWayBytes === 0 || sum <= UNDER_WAY_BYTES_MAX;
  }
}
