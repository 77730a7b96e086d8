// The messages to the app server, until each one's outcome is known. A message is written at most
// once to each hub that may have handed it on, and repeated only with its id, by which a hub knows
// what became of it.
import ION from "@covenant-rpc/ion";
import type { Parts } from "./parts.js";
import type { ChannelError, Frame, SendMessage } from "./types.js";

/** A CovenantClient takes an error for that of its sends of the last 100 ms. */
const NPM_SEND_MS = 100;
const TOO_BIG = 1009;
const INTERNAL_ERROR = 1011;

/** Codes with which a message was certainly not processed, even if it is the answer to a repeat. */
const FINAL = ["app", "app_unreachable"];
/** The same, unless an earlier copy of the message was written. */
const REFUSED = [
  ...["syntax", "shape", "size", "rate", "token", "scope", "client_full"],
  ...["full", "queue", "stopping", "engine"],
];

export class SendError extends Error {
  override readonly name = "SendError";
  /** One of docs/protocol.md, or `buffer`, `expired`, `closed`, `unknown`: this client's own. */
  readonly code: string;
  /** The app server may have got the message, at most once. Otherwise it did not accept it. */
  readonly isUncertain: boolean;
  readonly fault: ChannelError["fault"];

  constructor(
    message: string,
    code: string,
    isUncertain = false,
    fault: ChannelError["fault"] = "sidekick",
  ) {
    super(message);
    this.code = code;
    this.isUncertain = isUncertain;
    this.fault = fault;
  }
}

interface Send {
  readonly id: number;
  readonly message: SendMessage;
  readonly bytes: number;
  readonly settle: (error: SendError | undefined) => void;
  /** Ends the wait for the first write. */
  readonly timer: ReturnType<typeof setTimeout>;
  /** How often it was written. */
  writes: number;
  /** It was written on this socket. */
  isOut: boolean;
}

export class Sends {
  readonly #parts: Parts;
  readonly #sends = new Map<number, Send>();
  #bytes = 0;
  #watch: ReturnType<typeof setTimeout> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * @param settle called once, unless this throws
   * @throws SendError if the message is refused at once
   */
  send(message: SendMessage, settle: Send["settle"]): void {
    const { options, hub, connection, requests } = this.#parts;
    if (!connection.isPossible)
      throw new SendError(`not sent: ${connection.state.reason}`, "closed");
    const bytes = utf8Bytes(ION.stringify(message));
    if (bytes > hub.frameBytesMax)
      throw new SendError(`not sent: ${bytes} bytes; the limit is ${hub.frameBytesMax}`, "buffer");
    if (this.#sends.size >= options.sendMax || this.#bytes + bytes > options.sendBytesMax)
      throw new SendError("not sent: too many messages wait for their outcome", "buffer");
    const id = requests.nextId();
    const expire = () =>
      this.#settle(send, new SendError("not sent: no connection in time", "expired"));
    const timer = setTimeout(expire, options.sendTtlMs);
    const send: Send = { id, message, bytes, settle, timer, writes: 0, isOut: false };
    this.#sends.set(id, send);
    this.#bytes += bytes;
    if (connection.isLive) this.flush();
    else connection.connect();
  }

  /** The npm method `send`: it takes an error for its own only if that comes soon. */
  sendForNpm(message: SendMessage): void {
    const made = Date.now();
    this.send(message, (error) => {
      if (error === undefined) return;
      const { channel, params } = message;
      const { fault } = error;
      if (Date.now() - made < NPM_SEND_MS)
        void this.#parts.emit({
          type: "error",
          error: { channel, params, fault, message: error.message },
        });
      this.#parts.tell("sendFailed", { message, error });
    });
  }

  /** The connection is live. */
  resume(): void {
    if (!this.#parts.requests.isCapable) this.#doubt(this.#all(), "this Sidekick cannot tell");
    this.flush();
  }

  /** Writes what may be written: a message of a subscribed channel waits until it is confirmed. */
  flush(): void {
    for (const send of this.#all())
      if (!send.isOut && this.#parts.channels.mayWrite(send.message.token)) this.#write(send);
  }

  onSent({ id = 0 }: Frame): void {
    const send = this.#sends.get(id);
    if (send !== undefined) this.#settle(send, undefined);
  }

  /** @returns whether the error is that of a message */
  onError({ id = 0, code = "unknown", error }: Frame): boolean {
    const send = this.#sends.get(id);
    if (send === undefined) return false;
    const { message, fault } = error!;
    const isRefused = REFUSED.includes(code);
    const isUncertain = !FINAL.includes(code) && (send.writes > 1 || !isRefused);
    // A repeat is refused before the hub looks for what became of the message.
    const shown = isUncertain && isRefused ? "unknown" : code;
    this.#settle(send, new SendError(message, shown, isUncertain, fault));
    return true;
  }

  /** The hub does not know the token: nor, then, what became of its messages. */
  onTokenLost(token: string): void {
    this.#doubt(this.#of(token), "its token was lost");
  }

  onChannelLost(token: string, { message }: ChannelError): void {
    for (const send of this.#of(token)) {
      const error = `not sent: the channel is lost: ${message}`;
      this.#settle(send, new SendError(error, "token"));
    }
  }

  onAbandon(code: number): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    for (const send of this.#all()) send.isOut = false;
    // The message itself may be the reason: repeated, it would close every socket.
    if (code === TOO_BIG || code === INTERNAL_ERROR)
      this.#doubt(this.#all(), `the socket was closed with ${code}`);
  }

  onDisconnect(): void {
    this.#doubt(this.#all(), "disconnect() was called");
    for (const send of this.#all())
      this.#settle(send, new SendError("not sent: disconnect() was called", "closed"));
  }

  #write(send: Send): void {
    const { requests, channels } = this.#parts;
    clearTimeout(send.timer);
    const again = send.writes++ > 0 && { again: true };
    send.isOut = true;
    const token = channels.wireOf(send.message.token);
    requests.send({ ...send.message, token, ...again }, send.id);
    if (requests.isCapable) this.#watchAnswers();
    else this.#settle(send, undefined);
  }

  /** Until all answers came: a silent socket is suspect. */
  #watchAnswers(): void {
    this.#watch ??= setTimeout(() => {
      this.#watch = undefined;
      if (!this.#all().some(({ isOut }) => isOut)) return;
      this.#watchAnswers();
      this.#parts.connection.suspect();
    }, this.#parts.options.probeMs);
  }

  /** Settles those of these messages that were written: nobody knows what became of them. */
  #doubt(sends: readonly Send[], reason: string): void {
    const text = `the message may or may not have been processed: ${reason}`;
    for (const send of sends)
      if (send.writes > 0) this.#settle(send, new SendError(text, "unknown", true));
  }

  #settle(send: Send, error: SendError | undefined): void {
    if (!this.#sends.delete(send.id)) return;
    this.#bytes -= send.bytes;
    clearTimeout(send.timer);
    send.settle(error);
  }

  #all(): Send[] {
    return [...this.#sends.values()];
  }

  #of(token: string): Send[] {
    return this.#all().filter(({ message }) => message.token === token);
  }
}

/** Without TextEncoder, which React Native got late. */
function utf8Bytes(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Two units of a surrogate pair are four bytes.
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit & 0xf800) === 0xd800 ? 2 : 3;
  }
  return bytes;
}
