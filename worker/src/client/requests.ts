// The messages that one socket carries: their ids, and which reply answers which. A Sidekick that
// answers hello with `welcome` puts the id of a message into its reply. One without this extension
// (legacy) replies without ids, in order.
import ION from "@covenant-rpc/ion";
import type { Parts } from "./parts.js";
import type { Frame } from "./types.js";

/** Exactly this text: a Durable Object answers it without waking. */
const PING = '{"type":"ping"}';
const REPLIES: Readonly<Record<string, string>> = {
  subscribe: "subscribed",
  unsubscribe: "unsubscribed",
  listen: "listening",
  unlisten: "unlistening",
  ping: "pong",
};

export interface Message {
  readonly type: string;
  readonly [member: string]: unknown;
}

interface Open {
  readonly type: string;
  readonly onReply: (reply: Frame) => void;
}

export class Requests {
  /** Whether the Sidekick on this socket knows the extension. */
  isCapable = false;
  readonly #parts: Parts;
  /** The secret name of this client: who says it takes over what an older socket of it held. */
  readonly #session = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
  readonly #open = new Map<number, Open>();
  #lastId = 0;
  #isPingRefused = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** One counter for the life of the client: a repeated message keeps its id. */
  nextId(): number {
    return ++this.#lastId;
  }

  hello(onReply: (reply: Frame) => void): void {
    const id = this.#remember("listen", onReply);
    this.#write({ type: "listen", resources: [], id, hello: this.#session });
  }

  ask(message: Message, onReply: (reply: Frame) => void = () => {}): void {
    this.send(message, this.#remember(message.type, onReply));
  }

  /** A message whose reply is awaited elsewhere. */
  send({ type, ...rest }: Message, id: number): void {
    // `type` and `id` come first: of a frame that is too large, the hub reads only these.
    this.#write(this.isCapable ? { type, id, ...rest } : { type, ...rest });
  }

  ping(): void {
    if (this.isCapable) this.#parts.hub.onPing();
    else if (this.#isPingRefused) return this.ask({ type: "listen", resources: [] });
    else this.#remember("ping", ({ type }) => (this.#isPingRefused = type === "error"));
    this.#parts.connection.write(PING);
  }

  /** @returns whether the frame answers an open request; it is closed then */
  answer(frame: Frame): boolean {
    const id = frame.id ?? (this.isCapable ? undefined : this.#oldest(frame));
    const open = id === undefined ? undefined : this.#open.get(id);
    if (open === undefined) return false;
    this.#open.delete(id!);
    open.onReply(frame);
    return true;
  }

  /** The socket is gone. */
  onAbandon(): void {
    this.#open.clear();
    this.isCapable = false;
  }

  #oldest(frame: Frame): number | undefined {
    for (const [id, { type }] of this.#open)
      if (frame.type === "error" ? isAnonymous(frame) : frame.type === REPLIES[type]) return id;
    return undefined;
  }

  #remember(type: string, onReply: (reply: Frame) => void): number {
    const id = this.nextId();
    this.#open.set(id, { type, onReply });
    return id;
  }

  #write(message: object): void {
    this.#parts.connection.write(ION.stringify(message));
  }
}

/** An error that names no channel; one of a `send` does. */
function isAnonymous({ error }: Frame): boolean {
  return error?.channel === undefined || error.channel.endsWith("unknown");
}
