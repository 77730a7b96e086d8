// The messages that one socket carries: their ids, and which reply answers which. A Sidekick that
// answers hello with `welcome` puts the id of a message into its reply. One without this extension
// (legacy) replies without ids, in order.
import ION from "@covenant-rpc/ion";
import { backoffMs, jitter } from "./backoff.js";
import type { Parts } from "./parts.js";
import type { Frame } from "./types.js";

/** Exactly this text: a Durable Object answers it without waking. */
const PING = '{"type":"ping"}';
/** Codes of temporary rejections: a Sidekick may accept the same message a little later. */
const TEMPORARY = /^(rate|full|queue|engine)$/;

export interface Message {
  readonly type: string;
  readonly [member: string]: unknown;
}

type OnReply = (reply: Frame) => void;

export class Requests {
  /** Whether the Sidekick on this socket knows the extension. */
  isCapable = false;
  readonly #parts: Parts;
  /**
   * The secret name of this client: a socket that says it takes over from an older one. Generated
   * late, since Cloudflare Workers allow no random numbers while a module loads.
   */
  #session: string | undefined;
  /** By id: how the type of the reply begins, and what to do with it. */
  #open = new Map<number, readonly [type: string, onReply: OnReply]>();
  #lastId = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** One counter for the life of the client: a repeated message keeps its id. */
  nextId(): number {
    return ++this.#lastId;
  }

  hello(onReply: OnReply): void {
    const id = this.#remember("listen", onReply);
    this.#session ??= random128();
    this.#write({ type: "listen", id, resources: [], hello: this.#session });
  }

  /**
   * @param tries number of temporary rejections so far
   * @param again called a while after another one
   */
  ask(
    message: Message,
    onReply: OnReply = () => {},
    tries = 0,
    again = () => this.ask(message, onReply, tries + 1),
  ): void {
    const open = this.#open;
    const id = this.#remember(message.type, (reply) => {
      if (!TEMPORARY.test(reply.code ?? "")) return onReply(reply);
      this.#parts.complain(reply);
      setTimeout(
        () => open === this.#open && again(),
        jitter(backoffMs(this.#parts.options, tries)),
      );
    });
    this.send(message, id);
  }

  /** A message whose reply is awaited elsewhere. */
  send({ type, ...rest }: Message, id: number): void {
    // `type` and `id` come first: of a frame that is too large, the hub reads only these.
    this.#write(this.isCapable ? { type, id, ...rest } : { type, ...rest });
  }

  /** The members that ask for what was missed. */
  since(position: number): object | false {
    return this.isCapable && position > 0 && { since: position, epoch: this.#parts.hub.epoch };
  }

  /** The npm package's Sidekick answers no ping, but every `listen`. */
  ping(): void {
    if (!this.isCapable) return this.ask({ type: "listen", resources: [] });
    this.#parts.hub.onPing();
    this.#parts.write(PING);
  }

  /** @returns whether the frame answers an open request; it is closed then */
  answer(frame: Frame): boolean {
    for (const [id, [type, onReply]] of this.#open) {
      const isIt = this.isCapable
        ? frame.id === id
        : frame.type === "error"
          ? frame.error!.channel.endsWith("unknown") // an error of a `send` names its channel
          : frame.type?.startsWith(type);
      if (!isIt) continue;
      this.#open.delete(id);
      onReply(frame);
      return true;
    }
    return false;
  }

  /** The socket is gone. */
  onAbandon(): void {
    this.#open = new Map();
    this.isCapable = false;
  }

  #remember(type: string, onReply: OnReply): number {
    const id = this.nextId();
    this.#open.set(id, [type, onReply]);
    return id;
  }

  #write(message: object): void {
    this.#parts.write(ION.stringify(message));
  }
}

/** React Native has no `crypto`; nobody sees the earlier numbers of its `Math.random`. */
function random128(): string {
  const words = new Uint32Array(4).map(() => Math.random() * 2 ** 32);
  return (globalThis.crypto?.getRandomValues(words) ?? words).join("-");
}
