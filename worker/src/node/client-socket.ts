// One client's socket: the `ws` WebSocket, and beside it the raw stream, onto which the frames of broadcasts are written
// directly. `ws` itself writes only pongs and close frames; both go to the same stream, so order holds as long as the outbox is
// flushed before `ws` is asked to close. Whoever does not take what is written to it is not read either. Makes no protocol decision.

import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import type { Batch } from "./frames.js";

/** Who is told what happens to a socket. */
export interface SocketTaker {
  onFrame(socket: ClientSocket, bytes: Buffer): void;
  onError(socket: ClientSocket, error: Error): void;
  /** Exactly once, after everything else. */
  onClosed(socket: ClientSocket, code: number): void;
}

/** With more unsent than this a socket is not read: its peer could else make us write what it never takes. Broadcasts go on. */
const UNSENT_BYTES_READ_MAX = 64 * 1024;

export class ClientSocket extends WebSocket {
  taker: SocketTaker | undefined;
  /** The handle under which the hub knows this client. */
  client = 0;
  /** Set once the hub, or the host, has decided that this socket ends: nothing of it reaches the hub any more. */
  ending = false;
  #record = "";
  #recordFlatLength = 0;
  #stream: Socket | undefined;
  #outbox: Batch | undefined;
  #seenBytes = 0;
  #silentRounds = 0;

  /** @param stream the one of the HTTP upgrade, which `ws` goes on to use: see the head of this file */
  open(taker: SocketTaker, client: number, stream: Duplex): void {
    this.taker = taker;
    this.client = client;
    this.#stream = stream as Socket;
    // The same three functions for all sockets: closures of their own would cost memory per connection.
    this.on("message", onMessage);
    this.on("error", onError);
    this.on("close", onClose);
  }

  /** The hub's record of this client, byte by byte in a latin1 string: in memory that is half the size of a small Buffer. */
  get record(): string {
    return this.#record;
  }

  /** @param append `piece` is added to what is stored, instead of replacing it */
  store(piece: string, append: boolean): void {
    this.#record = append ? this.#record + piece : piece;
    // What was appended is kept in pieces, which cost more than their bytes: joined whenever a quarter has come.
    if (append && this.#record.length < 1.25 * this.#recordFlatLength) return;
    if (append) this.#record = Buffer.from(this.#record, "latin1").toString("latin1");
    this.#recordFlatLength = this.#record.length;
  }

  /** Adds a frame to what this turn has for the socket. True if it is the first one. */
  append(frame: Buffer, start: Batch): boolean {
    const first = this.#outbox === undefined;
    this.#outbox = (this.#outbox ?? start).with(frame);
    return first;
  }

  /**
   * Writes what the turn has brought. Returns 0, or the number of bytes that would wait if it were written, when that is more
   * than `bytesMax`: then nothing is written. A peer that has taken all so far is never over the bound.
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
    this.#pauseIfUnsent();
    return 0;
  }

  /** By this `ws` answers pings. */
  override pong(data?: unknown, mask?: boolean, written?: (error: Error) => void): void {
    super.pong(data, mask, written);
    this.#pauseIfUnsent();
  }

  /** Sends what is owed, then the close frame. `ws` destroys the stream if the peer does not answer in time. */
  end(code: number, reason: string | Buffer): void {
    if (this.ending) return;
    this.flush(Infinity);
    this.ending = true;
    if (this.isPaused) this.resume(); // to see the peer's close frame
    this.close(code, reason);
  }

  /** To be called once per ping round. How many rounds in a row have brought no sign of the peer. */
  silentRounds(): number {
    const stream = this.#stream;
    // One that is not read shows its life by taking what is written.
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

  /** Until the peer has taken all that is written to it, nothing is read. */
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

function onMessage(this: WebSocket, data: unknown): void {
  const socket = this as ClientSocket;
  socket.taker?.onFrame(socket, data as Buffer); // `ws` gives a Buffer, since binaryType is "nodebuffer"
}

function onError(this: WebSocket, error: Error): void {
  const socket = this as ClientSocket;
  socket.taker?.onError(socket, error);
}

function onClose(this: WebSocket, code: number): void {
  const socket = this as ClientSocket;
  socket.taker?.onClosed(socket, code);
}
