// What a shard has to deliver to one gateway, in order, one delivery under way. If the gateway
// cannot be reached, or does not keep up, it gets a gap in place of the rest: it then connects
// again, and asks for what it has missed. That it needs one outlives the shard.
import { within } from "./scale.js";

/** As in the hub's input `engine_message`. */
export interface Delivered {
  readonly topic: Uint8Array;
  readonly body: Uint8Array;
}

const QUEUED_BYTES_MAX = 1 << 20;
const MESSAGE_BYTES_MORE = 128;
const RETRY_MS_FIRST = 1000;
const RETRY_MS_MAX = 60_000;

/** What an outbox needs of its shard. */
export interface Mail {
  readonly timeoutMs: number;
  deliver(gateway: string, messages: readonly Delivered[], isGap: boolean): Promise<void>;
  /** Stores that the gateway needs a gap, and how often that failed; undefined: it needs none. */
  storeGap(gateway: string, tries: number | undefined): void;
  retryAt(ms: number): void;
  report(message: string, error: unknown): void;
}

/** What goes out in one delivery. */
interface Batch {
  readonly messages: Delivered[];
  bytes: number;
  /** Resolves when it is delivered, or has failed. */
  readonly done: Promise<void>;
  readonly end: () => void;
}

function newBatch(): Batch {
  let end = () => {};
  const done = new Promise<void>((resolve) => void (end = resolve));
  return { messages: [], bytes: 0, done, end };
}

export class Outbox {
  readonly #gateway: string;
  readonly #mail: Mail;
  #queued = newBatch();
  /** How often delivering a gap has failed. Undefined: the gateway has missed nothing. */
  #tries: number | undefined;
  #retryAt = 0;
  #isSending = false;
  /** A gap is stored, in case the shard ends before it has delivered what is queued. */
  #isLate = false;

  constructor(gateway: string, mail: Mail, tries?: number) {
    this.#gateway = gateway;
    this.#mail = mail;
    this.#tries = tries;
  }

  /** @returns when these are delivered, or have failed; undefined: the gateway gets a gap */
  push(messages: readonly Delivered[]): Promise<void> | undefined {
    if (this.#tries !== undefined) return undefined;
    const batch = this.#queued;
    batch.messages.push(...messages);
    for (const { topic, body } of messages)
      batch.bytes += topic.byteLength + body.byteLength + MESSAGE_BYTES_MORE;
    if (batch.bytes > QUEUED_BYTES_MAX && this.#isSending) this.#fail(0);
    void this.#send();
    return batch.done;
  }

  /** Delivers the gap of an earlier failure, if it is time to. */
  retry(now: number): void {
    if (this.#tries === undefined) return;
    if (this.#retryAt <= now) void this.#send();
    else this.#mail.retryAt(this.#retryAt);
  }

  /** An answer goes out before all is delivered: the gateway must learn of it all the same. */
  noteLate(): void {
    if (this.#tries !== undefined || this.#isLate || !this.#isSending) return;
    this.#isLate = true;
    this.#mail.storeGap(this.#gateway, 0);
  }

  /** The gateway has connected again, and asks for what it has missed. */
  reset(): void {
    this.#drop();
    if (this.#tries !== undefined || this.#isLate) this.#mail.storeGap(this.#gateway, undefined);
    this.#tries = undefined;
    this.#isLate = false;
  }

  #drop(): void {
    this.#queued.end();
    this.#queued = newBatch();
  }

  #fail(tries: number): void {
    this.#drop();
    this.#tries = tries;
    this.#mail.storeGap(this.#gateway, tries);
  }

  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#queued.messages.length > 0 || this.#tries !== undefined) await this.#sendOnce();
      if (this.#isLate) this.#mail.storeGap(this.#gateway, undefined);
      this.#isLate = false;
    } catch (error) {
      const tries = (this.#tries ?? 0) + 1;
      this.#fail(tries);
      if (tries === 1) this.#mail.report("a gateway cannot be reached; retrying", error);
      const wait = Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** (tries - 1));
      this.#retryAt = Date.now() + wait;
      this.#mail.retryAt(this.#retryAt);
    } finally {
      this.#isSending = false;
    }
  }

  async #sendOnce(): Promise<void> {
    const isGap = this.#tries !== undefined;
    const batch = this.#queued;
    this.#queued = newBatch();
    try {
      const sent = this.#mail.deliver(this.#gateway, isGap ? [] : batch.messages, isGap);
      await within(this.#mail.timeoutMs, sent);
    } finally {
      batch.end();
    }
    if (isGap) this.reset();
  }
}
