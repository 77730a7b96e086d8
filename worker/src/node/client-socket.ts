// One client's socket: the `ws` WebSocket, and the raw stream next to it, to which broadcast frames
// are written directly. `ws` itself writes only pongs and close frames to the same stream, so order
// is kept as long as the outbox is flushed before `ws` closes. A peer that does not read is not
// read either. Makes no protocol decision.

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Batch } from "./frames.js";
import type { Unsent } from "./unsent.js";
import { Backlog } from "./unsent.js";
import { WebSocket } from "./ws.js";

/** Receives the events of a socket. */
export interface SocketTaker {
  /** Counts the backlogs of all sockets. */
  readonly unsent: Unsent;
  onFrame(socket: ClientSocket, bytes: Buffer, isText: boolean): void;
  onError(socket: ClientSocket, error: Error): void;
  /** Exactly once, after all other events. */
  onClosed(socket: ClientSocket, code: number): void;
}

/**
 * A socket with more unsent bytes than this is not read: otherwise its peer could make us write
 * what it never reads. Broadcasts continue.
 */
const UNSENT_BYTES_READ_MAX = 64 * 1024;
const CLOSE_TOO_LARGE = 1009;

export class ClientSocket extends WebSocket {
  taker: SocketTaker | undefined;
  /** The hub's handle for this client. */
  client = 0;
  /**
   * Set once the hub or the host has decided to close this socket: nothing more from it reaches the
   * hub.
   */
  ending = false;
  #record = "";
  #recordFlatLength = 0;
  #stream: Socket | undefined;
  #outbox: Batch | undefined;
  /** Undefined: the peer has taken everything, as far as is known. */
  #backlog: Backlog | undefined;
  #seenBytes = -1; // so that the first round counts as a sign: Bun does not count the handshake
  #silentRounds = 0;

  /**
   * @param stream the stream of the HTTP upgrade, which `ws` keeps using: see the top of this file
   */
  open(taker: SocketTaker, client: number, stream: Duplex): void {
    this.taker = taker;
    this.client = client;
    this.#stream = stream as Socket;
    // All sockets share these three functions: closures per socket would cost memory per
    // connection.
    this.on("message", onMessage);
    this.on("error", onError);
    this.on("close", onClose);
  }

  /** The hub's record of this client as a latin1 string: half the memory of a small Buffer. */
  get record(): string {
    return this.#record;
  }

  /** @param append adds `piece` to the stored record instead of replacing it */
  store(piece: string, append: boolean): void {
    this.#record = append ? this.#record + piece : piece;
    // Appended pieces cost more than their bytes; they are joined once they make up a quarter of
    // the record.
    if (append && this.#record.length < 1.25 * this.#recordFlatLength) return;
    if (append) this.#record = Buffer.from(this.#record, "latin1").toString("latin1");
    this.#recordFlatLength = this.#record.length;
  }

  /** Adds a frame to the socket's outbox for this turn. Returns true if it is the first one. */
  append(frame: Buffer, start: Batch): boolean {
    const first = this.#outbox === undefined;
    this.#outbox = (this.#outbox ?? start).with(frame);
    return first;
  }

  /**
   * Writes the outbox. Returns 0; or, if more than `bytesMax` bytes would be waiting, that number,
   * without writing anything. A peer that has taken everything so far is never over the limit.
   */
  flush(bytesMax: number): number {
    const batch = this.#outbox;
    const stream = this.#stream;
    this.#outbox = undefined;
    if (batch === undefined || stream === undefined || !stream.writable) return 0;
    const waiting = stream.writableLength;
    if (waiting > 0 && waiting + batch.bytes > bytesMax) return waiting + batch.bytes;
    const pieces = batch.pieces();
    if (pieces.length === 1) {
      stream.write(pieces[0]!);
    } else {
      stream.cork();
      for (const piece of pieces) stream.write(piece);
      stream.uncork();
    }
    if (stream.writableLength > 0 || this.#backlog !== undefined) this.#keep(pieces, stream);
    this.#pauseIfUnsent();
    return 0;
  }

  /** Stops counting what the peer has taken. */
  settleUnsent(left = this.#stream?.writableLength ?? 0): void {
    if (this.#backlog?.keep(left)) this.#backlog = undefined;
  }

  /**
   * The memory of what the peer has not taken: of what waits for several peers, an equal part.
   */
  get unsentShare(): number {
    return this.#backlog?.share ?? 0;
  }

  /** A close frame was sent or received. */
  get closing(): boolean {
    return this.readyState !== this.OPEN;
  }

  /** Closes at once, without what the peer has not taken. */
  drop(): void {
    this.settleUnsent(0);
    this.terminate();
  }

  /** `ws` answers pings through this. */
  override pong(data?: unknown, mask?: boolean, written?: (error: Error) => void): void {
    super.pong(data, mask, written);
    this.#pauseIfUnsent();
  }

  /**
   * Sends pending frames, then the close frame. `ws` destroys the stream if the peer does not
   * answer in time.
   */
  end(code: number, reason: string | Buffer): void {
    if (this.ending) return;
    this.flush(Infinity);
    this.ending = true;
    if (this.isPaused) this.resume(); // so that the peer's close frame is seen
    this.close(code, reason);
  }

  /** `ws` closes through this, without a reason, if a message is too large. */
  override close(code?: number, reason?: string | Buffer): void {
    const tooLarge = "message exceeds the limit (frame_bytes_max)";
    super.close(code, code === CLOSE_TOO_LARGE ? tooLarge : reason);
  }

  /** Call once per ping round. Returns the number of consecutive rounds without a sign of life. */
  silentRounds(): number {
    const stream = this.#stream;
    // A paused socket shows life by taking what is written.
    const bytes =
      stream === undefined
        ? 0
        : this.isPaused
          ? stream.bytesWritten - stream.writableLength
          : stream.bytesRead;
    this.#silentRounds = bytes === this.#seenBytes ? this.#silentRounds + 1 : 0;
    this.#seenBytes = bytes;
    return this.#silentRounds;
  }

  #keep(pieces: readonly Buffer[], stream: Socket): void {
    const backlog = (this.#backlog ??= new Backlog(this.taker!.unsent));
    for (const piece of pieces) backlog.add(piece);
    if (backlog.keep(stream.writableLength)) this.#backlog = undefined;
  }

  /** Reading stays paused until the peer has taken everything written to it. */
  #pauseIfUnsent(): void {
    const stream = this.#stream;
    if (
      stream === undefined ||
      this.isPaused ||
      this.ending ||
      stream.writableLength <= UNSENT_BYTES_READ_MAX
    )
      return;
    this.pause();
    stream.once("drain", () => this.resume());
  }
}

function onMessage(this: WebSocket, data: unknown, isBinary: boolean): void {
  const socket = this as ClientSocket;
  // `ws` gives a Buffer because binaryType is "nodebuffer"
  socket.taker?.onFrame(socket, data as Buffer, !isBinary);
}

function onError(this: WebSocket, error: Error): void {
  const socket = this as ClientSocket;
  socket.taker?.onError(socket, error);
}

function onClose(this: WebSocket, code: number): void {
  const socket = this as ClientSocket;
  socket.settleUnsent(0);
  socket.taker?.onClosed(socket, code);
}
