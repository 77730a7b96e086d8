// One connection to an app server: connects, sends one request at a time, and passes what comes to
// the reader of its answer. Owns the socket; does not know why a request is sent.
import type * as net from "node:net";
import * as tls from "node:tls";
import type { AnswerReader } from "./answer-reader.js";
import { type Connecting, connectToAny } from "./connect.js";
import type { Target } from "./server-url.js";
import { serverName } from "./server-url.js";

export interface LinkOwner {
  /** Bytes of an answer have come, and its reader has read them. */
  onRead(link: Link): void;
  /** The connection is gone, or cannot be made: its socket is closed. */
  onGone(link: Link, reason: string): void;
}

export class Link {
  readonly target: Target;
  /** A part of the current request was sent. */
  isSent = false;
  /** When the connection became idle, in ms of `performance.now()`, and for how long it may be. */
  idleSince = 0;
  idleMsMax = 0;
  /** How long the connection was idle before the current request. */
  idleMs = 0;
  readonly #owner: LinkOwner;
  #connecting: Connecting | undefined;
  #socket: net.Socket | undefined;
  #reader: AnswerReader | undefined;
  #isClosed = false;

  constructor(target: Target, owner: LinkOwner) {
    this.target = target;
    this.#owner = owner;
  }

  /** The whole request was sent, and nothing is pending. */
  get isFlushed(): boolean {
    return this.#socket?.writableLength === 0;
  }

  carry(request: Buffer, reader: AnswerReader): void {
    this.#reader = reader;
    this.isSent = false;
    if (this.#socket === undefined) return this.#connect(request);
    this.#socket.ref();
    this.#write(this.#socket, request);
  }

  /** From now on anything that comes belongs to no answer. Does not keep the process alive. */
  rest(): void {
    this.#reader = undefined;
    this.#socket?.unref();
  }

  /** Nothing is called any more. */
  close(): void {
    this.#isClosed = true;
    this.#connecting?.cancel();
    this.#socket?.destroy();
  }

  #connect(request: Buffer): void {
    const { host, port, isTls } = this.target;
    this.#connecting = connectToAny(
      host,
      port,
      (socket) => {
        if (!isTls) return this.#connected(socket, request);
        const name = serverName(this.target);
        const encrypted = tls.connect({
          socket,
          host,
          ALPNProtocols: ["http/1.1"],
          ...(name !== undefined && { servername: name }),
        });
        encrypted.once("secureConnect", () => this.#write(encrypted, request));
        this.#connected(encrypted, undefined);
      },
      (reason) => this.#gone(reason),
    );
  }

  #connected(socket: net.Socket, request: Buffer | undefined): void {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => {
      if (this.#isClosed) return;
      if (this.#reader === undefined) return this.#gone("bytes that belong to no answer");
      this.#reader.push(bytes);
      this.#owner.onRead(this);
    });
    socket.on("end", () => {
      if (this.#isClosed) return;
      this.#reader?.end();
      this.#gone(this.#reader?.error ?? "");
    });
    socket.on("error", (error: Error) => this.#gone(error.message));
    socket.on("close", () => this.#gone("the connection was closed"));
    if (request !== undefined) this.#write(socket, request);
  }

  #write(socket: net.Socket, request: Buffer): void {
    if (this.#isClosed) return;
    this.isSent = true;
    socket.write(request);
  }

  #gone(reason: string): void {
    if (this.#isClosed) return;
    this.close();
    this.#owner.onGone(this, reason);
  }
}
