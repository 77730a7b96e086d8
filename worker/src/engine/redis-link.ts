// One connection to a Redis server: commands go out, replies come in, in order. Owns the socket;
// knows no command.
import type * as net from "node:net";
import { isIP } from "node:net";
import * as tls from "node:tls";
import { type Connecting, connectToAny } from "../node/connect.js";
import type { EngineUrl } from "./engine-url.js";
import type { Decoder, DecoderClass } from "./redis-package.js";

export interface LinkOptions {
  readonly url: EngineUrl;
  /** PEM. Default: the authorities that Node trusts. */
  readonly ca: string | undefined;
  readonly decoder: DecoderClass;
}

export interface LinkOwner {
  /** Texts of known length are a Buffer, others a string; numbers, and arrays of all these. */
  onReply(reply: unknown): void;
  onRefused(error: string): void;
  /** The connection is closed. Called at most once, and nothing after it. */
  onLost(reason: string): void;
}

const BYTES = { 36: Buffer } as const;

export class RedisLink {
  readonly #options: LinkOptions;
  readonly #owner: LinkOwner;
  readonly #decoder: Decoder;
  readonly #connecting: Connecting;
  /** In the order of the server, until the owner gets them. */
  #replies: (() => void)[] = [];
  #unsent: Buffer[] = [];
  #socket: net.Socket | undefined;
  #isReady = false;
  #isClosed = false;

  constructor(options: LinkOptions, owner: LinkOwner) {
    this.#options = options;
    this.#owner = owner;
    this.#decoder = new options.decoder({
      onReply: (reply) => this.#replies.push(() => owner.onReply(reply)),
      onErrorReply: (error) => this.#replies.push(() => owner.onRefused(error.message)),
      onPush: (push) => this.#replies.push(() => owner.onReply(push)),
      getTypeMapping: () => BYTES,
    });
    const { host, port } = options.url;
    this.#connecting = connectToAny(
      host,
      port,
      (socket) => this.#connected(socket),
      (reason) => this.#lost(reason),
    );
  }

  /** Copies the words. Sent together with the other commands of this turn. */
  send(words: readonly (string | Uint8Array)[]): void {
    if (this.#isClosed) return;
    if (this.#isReady && this.#unsent.length === 0) process.nextTick(() => this.#flush());
    this.#unsent.push(encoded(words));
  }

  /** Nothing is called any more. Commands that were sent may still run. */
  close(): void {
    this.#isClosed = true;
    this.#unsent = [];
    this.#connecting.cancel();
    this.#socket?.destroy();
  }

  #connected(plain: net.Socket): void {
    const { url, ca } = this.#options;
    if (!url.isTls) {
      this.#use(plain);
      return this.#ready();
    }
    plain.on("error", () => {}); // the encrypted socket tells
    const encrypted = tls.connect({
      socket: plain,
      host: url.host,
      ...(isIP(url.host) === 0 && { servername: url.host }),
      ...(ca !== undefined && { ca }),
    });
    encrypted.once("secureConnect", () => this.#ready());
    this.#use(encrypted);
  }

  #use(socket: net.Socket): void {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#take(bytes));
    socket.on("end", () => this.#lost("the server closed the connection"));
    socket.on("error", (error: Error) => this.#lost(reasonOf(error, socket)));
    socket.on("close", () => this.#lost("the connection was closed"));
  }

  #ready(): void {
    if (this.#isClosed) return;
    this.#isReady = true;
    this.#flush();
  }

  #flush(): void {
    const socket = this.#socket;
    if (socket === undefined || this.#isClosed) return;
    socket.cork();
    for (const command of this.#unsent) socket.write(command);
    socket.uncork();
    this.#unsent = [];
  }

  #take(bytes: Buffer): void {
    let wrong: unknown;
    try {
      if (!this.#isClosed) this.#decoder.write(bytes);
    } catch (error) {
      wrong = error;
    }
    for (const reply of this.#replies.splice(0)) if (!this.#isClosed) reply();
    if (wrong !== undefined)
      this.#lost(`expected the protocol of Redis: ${(wrong as Error).message}`);
  }

  #lost(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#owner.onLost(reason);
  }
}

function encoded(words: readonly (string | Uint8Array)[]): Buffer {
  const pieces: Uint8Array[] = [Buffer.from(`*${words.length}`)];
  for (const word of words) {
    const bytes = typeof word === "string" ? Buffer.from(word) : word;
    pieces.push(Buffer.from(`\r\n$${bytes.length}\r\n`), bytes);
  }
  pieces.push(Buffer.from("\r\n"));
  return Buffer.concat(pieces);
}

function reasonOf(error: Error, socket: net.Socket): string {
  if (!(socket instanceof tls.TLSSocket)) return error.message;
  // Deno sets no authorizationError. An error of OpenSSL itself is about our own certificate.
  const { code = "", message } = error as NodeJS.ErrnoException;
  const isUntrusted = /certificate/i.test(message) && !code.startsWith("ERR_SSL_");
  return `TLS: ${isUntrusted ? "certificate verify failed: " : ""}${message}`;
}
