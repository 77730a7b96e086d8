// A shard's queue of messages for one gateway: in order, one delivery at a time. If the gateway
// cannot be reached or does not keep up, a gap replaces the rest. On a gap, the gateway reconnects
// and asks for the messages that it missed. A pending gap is stored, so it outlives the shard.
import { within } from "./within.js";

/** As in the hub's input `engine_message`. */
export interface Delivered {
  readonly topic: Uint8Array;
  readonly body: Uint8Array;
}

const QUEUED_BYTES_MAX = 1 << 20;
const MESSAGE_BYTES_MORE = 128;
const RETRY_MS_FIRST = 1000;
const RETRY_MS_MAX = 60_000;
/** After its timeout a late delivery ends within this. */
const LATE_MS = 1000;

export const sizeOf = ({ topic, body }: Delivered) =>
  topic.byteLength + body.byteLength + MESSAGE_BYTES_MORE;

/** The shard's interface for an outbox. */
export interface Mail {
  readonly timeoutMs: number;
  deliver(gateway: string, messages: readonly Delivered[], isGap: boolean): Promise<void>;
  /** Stores that a gap is pending, and how often it failed. Undefined: none is pending. */
  storeGap(gateway: string, tries: number | undefined): void;
  retryAt(ms: number): void;
  report(message: string, error: unknown): void;
}

/** What all outboxes of a shard share. */
interface Room {
  hold(messages: readonly Delivered[]): void;
  release(messages: readonly Delivered[]): void;
  /** Drops queues, also that of the outbox that has grown, until the limit holds. */
  makeRoom(growing: Outbox): void;
  /** @returns resolves when a delivery of so many bytes may begin; undefined: it may now */
  begin(bytes: number): Promise<void> | undefined;
  end(bytes: number): void;
}

/** The messages of one delivery. */
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
  readonly #room: Room;
  #queued = newBatch();
  /** Failed deliveries of the pending gap. Undefined: no gap is pending. */
  #tries: number | undefined;
  #retryAt = 0;
  #isSending = false;
  /** A gap is stored, in case the shard ends before it has delivered the queue. */
  #isLate = false;
  /** Counts the calls of reset. */
  #resets = 0;

  constructor(gateway: string, mail: Mail, room: Room, tries?: number) {
    this.#gateway = gateway;
    this.#mail = mail;
    this.#room = room;
    this.#tries = tries;
  }

  /** Whether a delivery is under way. */
  get isSending(): boolean {
    return this.#isSending;
  }

  /** Of the messages that wait for their delivery. */
  get queuedBytes(): number {
    return this.#queued.bytes;
  }

  /** @returns resolves when these are delivered or have failed; undefined: a gap is pending */
  push(messages: readonly Delivered[]): Promise<void> | undefined {
    if (this.#tries !== undefined) return undefined;
    const batch = this.#queued;
    batch.messages.push(...messages);
    for (const message of messages) batch.bytes += sizeOf(message);
    this.#room.hold(messages);
    if (batch.bytes > QUEUED_BYTES_MAX && this.#isSending) this.drop();
    this.#room.makeRoom(this);
    void this.#send();
    return batch.done;
  }

  /** Delivers the gap of an earlier failure, if it is time to. */
  retry(now: number): void {
    if (this.#tries === undefined && !this.#isLate) return;
    if (this.#isSending) this.#mail.retryAt(this.#deliveredAt);
    else if (this.#retryAt <= now) void this.#send();
    else this.#mail.retryAt(this.#retryAt);
  }

  /** An answer leaves before all is delivered: the gateway must still learn of the rest. */
  noteLate(): void {
    if (this.#tries !== undefined || this.#isLate || !this.#isSending) return;
    this.#isLate = true;
    this.#storeGap(0, this.#deliveredAt);
  }

  /** The gateway has reconnected, and asks for the messages that it missed. */
  reset(): void {
    this.#resets++;
    this.#clear();
    if (this.#tries !== undefined || this.#isLate) this.#eraseGap();
    this.#tries = undefined;
    this.#isLate = false;
  }

  /** A gap replaces the messages that wait. */
  drop(): void {
    if (this.#queued.bytes > 0) this.#fail(0, this.#deliveredAt);
  }

  /** At the latest, the delivery that is under way has ended. */
  get #deliveredAt(): number {
    return Date.now() + this.#mail.timeoutMs + LATE_MS;
  }

  #clear(): void {
    this.#room.release(this.#queued.messages);
    this.#queued.end();
    this.#queued = newBatch();
  }

  #fail(tries: number, wakeAt: number): void {
    this.#clear();
    this.#tries = tries;
    this.#storeGap(tries, wakeAt);
  }

  /** @param wakeAt when an alarm wakes the shard, if it has ended before it delivers the gap */
  #storeGap(tries: number, wakeAt: number): void {
    this.#mail.retryAt(wakeAt);
    this.#store(tries);
  }

  #eraseGap(): void {
    this.#store(undefined);
  }

  /** If that fails, the gap is pending in memory only. Other gateways get their messages. */
  #store(tries: number | undefined): void {
    try {
      this.#mail.storeGap(this.#gateway, tries);
    } catch (error) {
      this.#mail.report("a pending gap could not be stored", error);
    }
  }

  async #send(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      while (this.#queued.messages.length > 0 || this.#tries !== undefined) await this.#sendOnce();
      if (this.#isLate) this.#eraseGap();
      this.#isLate = false;
    } catch (error) {
      const tries = (this.#tries ?? 0) + 1;
      if (tries === 1) this.#mail.report("a gateway cannot be reached; retrying", error);
      this.#retryAt = Date.now() + Math.min(RETRY_MS_MAX, RETRY_MS_FIRST * 2 ** (tries - 1));
      this.#fail(tries, this.#retryAt);
    } finally {
      this.#isSending = false;
    }
  }

  async #sendOnce(): Promise<void> {
    const isGap = this.#tries !== undefined;
    const batch = this.#queued;
    this.#queued = newBatch();
    const resets = this.#resets;
    const turn = this.#room.begin(batch.bytes);
    if (turn !== undefined) await turn;
    try {
      // The gateway has reconnected, and asks for these.
      if (this.#resets !== resets) return;
      const sent = this.#mail.deliver(this.#gateway, isGap ? [] : batch.messages, isGap);
      await within(this.#mail.timeoutMs, sent);
    } finally {
      this.#room.end(batch.bytes);
      this.#room.release(batch.messages);
      batch.end();
    }
    // Unless the gateway has reconnected already: what is queued since then must reach it.
    if (isGap && this.#resets === resets) this.reset();
  }
}
