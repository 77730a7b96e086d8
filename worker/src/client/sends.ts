// The messages to the app server, until the outcome of each is known. The client repeats a message
// only with its id and `again`, so that no hub forwards it twice.
import ION from "@covenant-rpc/ion";
import type { Parts } from "./parts.js";
import type { ChannelError, Frame, SendMessage } from "./types.js";

/** CovenantClient attributes an error to all its sends of the last 100 ms. */
const NPM_SEND_MS = 100;
const TOO_BIG = 1009;
const INTERNAL_ERROR = 1011;

export class SendError extends Error {
  override readonly name = "SendError";
  /** A code of docs/protocol.md, or one of the client: `buffer`, `expired`, `closed`, `unknown`. */
  declare readonly code: string;
  /** The app server may have received the message, at most once. False: it did not accept it. */
  declare readonly isUncertain: boolean;
  declare readonly fault: ChannelError["fault"];

  constructor(
    message: string,
    code: string,
    isUncertain = false,
    fault: ChannelError["fault"] = "sidekick",
  ) {
    super(message);
    Object.assign(this, { code, isUncertain, fault });
  }
}

interface Send {
  readonly id: number;
  readonly message: SendMessage;
  readonly bytes: number;
  readonly settle: (error?: SendError) => void;
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
   * @returns a promise that settles with the outcome
   * @throws SendError if the message is rejected at once
   */
  send(message: SendMessage): Promise<void> {
    const { options, hub, requests } = this.#parts;
    if (!this.#parts.isPossible)
      throw new SendError(`not sent: ${this.#parts.state.reason}`, "closed");
    const bytes = utf8Bytes(ION.stringify(message));
    if (bytes > hub.frameBytesMax)
      throw new SendError(`not sent: ${bytes} bytes; the limit is ${hub.frameBytesMax}`, "buffer");
    if (this.#sends.size >= options.sendMax || this.#bytes + bytes > options.sendBytesMax)
      throw new SendError("not sent: limit reached (sendMax, sendBytesMax)", "buffer");
    return new Promise((resolve, reject) => {
      const id = requests.nextId();
      const settle: Send["settle"] = (error) => (error ? reject(error) : resolve());
      const expire = () =>
        this.#settle(send, new SendError("not sent in time (sendTtlMs)", "expired"));
      const timer = setTimeout(expire, options.sendTtlMs);
      const send: Send = { id, message, bytes, settle, timer, writes: 0, isOut: false };
      this.#sends.set(id, send);
      this.#bytes += bytes;
      this.flush();
      this.#parts.connect();
    });
  }

  /** For the npm method `send`, which sees an error only if it comes soon. */
  sendForNpm(message: SendMessage): void {
    const made = Date.now();
    this.send(message).catch((error: SendError) => {
      const { channel, params } = message;
      const shown = { channel, params, fault: error.fault, message: error.message };
      if (Date.now() - made < NPM_SEND_MS) void this.#parts.emit({ type: "error", error: shown });
      this.#parts.tell("sendFailed", { message, error });
    });
  }

  /** Writes all but messages of subscribed channels that are not confirmed yet. */
  flush(): void {
    if (!this.#parts.isLive) return;
    for (const send of this.#all()) {
      const channel = this.#parts.channels.items.get(send.message.token);
      if (send.isOut || (channel && channel.due === undefined)) continue;
      this.#write(send, channel?.wire ?? send.message.token);
    }
  }

  /** @returns whether the frame settles a message */
  answer({ type, id = 0, code, error }: Frame): boolean {
    const send = this.#sends.get(id);
    if (!send) return false;
    this.#settle(send, type === "error" ? failure(error!, code, send.writes > 1) : undefined);
    return true;
  }

  onAbandon(code: number): void {
    clearTimeout(this.#watch);
    this.#watch = undefined;
    for (const send of this.#all()) send.isOut = false;
    // The message itself may be the reason: repeated, it would close every socket.
    if (code === TOO_BIG || code === INTERNAL_ERROR) this.fail(`closed with ${code}`);
  }

  /**
   * Rejects the written messages as uncertain: their outcome stays unknown.
   * @param token only those with this token
   * @param code also rejects those that are not written, with this code
   */
  fail(reason: string, token?: string, code?: string): void {
    for (const send of this.#all()) {
      if (token !== undefined && send.message.token !== token) continue;
      if (send.writes > 0)
        this.#settle(send, new SendError(`may have been processed: ${reason}`, "unknown", true));
      else if (code) this.#settle(send, new SendError(`not sent: ${reason}`, code));
    }
  }

  #write(send: Send, token: string): void {
    const { requests } = this.#parts;
    clearTimeout(send.timer);
    const again = send.writes++ > 0 && { again: true };
    send.isOut = true;
    requests.send({ ...send.message, token, ...again }, send.id);
    if (requests.isCapable) this.#watchAnswers();
    else this.#settle(send);
  }

  /** While answers are missing, a silent socket is suspect. */
  #watchAnswers(): void {
    this.#watch ??= setTimeout(() => {
      this.#watch = undefined;
      if (!this.#all().some(({ isOut }) => isOut)) return;
      this.#watchAnswers();
      this.#parts.heartbeat.suspect();
    }, this.#parts.options.probeMs);
  }

  #settle(send: Send, error?: SendError): void {
    if (!this.#sends.delete(send.id)) return;
    this.#bytes -= send.bytes;
    clearTimeout(send.timer);
    send.settle(error);
  }

  #all(): Send[] {
    return [...this.#sends.values()];
  }
}

function failure({ message, fault }: ChannelError, code = "unknown", isRepeat: boolean): SendError {
  const isFinal = code === "app" || code === "app_unreachable";
  const isAnswer = fault === "server" || code === "unknown";
  // A hub may reject a repeat before it looks for the outcome of the message.
  const isUncertain = !isFinal && (isAnswer || isRepeat);
  return new SendError(message, isUncertain && !isAnswer ? "unknown" : code, isUncertain, fault);
}

/** Without TextEncoder, which React Native got late. Half a surrogate pair counts as two bytes. */
const utf8Bytes = (text: string): number =>
  text.replace(/[\u0800-\ud7ff\ue000-\uffff]/g, "---").replace(/[^\0-\x7f]/g, "--").length;
