// One client's socket: the `ws` WebSocket, and beside it the raw stream, onto which the frames of broadcasts are written
// directly. `ws` itself writes only pongs and close frames; both go to the same stream, so order holds as long as the outbox is
// flushed before `ws` is asked to close. Makes no protocol decision.
import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import { WebSocket } from "ws";
import { Batch } from "./frames.js";

/** Who is told what happens to a socket. */
export interface SocketTaker {
  onFrame(socket: ClientSocket, bytes: Buffer): void;
  onError(socket: ClientSocket, error: Error): void;
  /** Exactly once, after everything else. */
  onClosed(socket: ClientSocket): void;
}

export class ClientSocket extends WebSocket {
  taker: SocketTaker | undefined;
  /** The handle under which the hub knows this client. */
  client = 0;
  /** The hub's record of this client, byte by byte in a latin1 string: in memory that is half the size of a small Buffer. */
  record = "";
  /** Set once the hub, or the host, has decided that this socket ends: nothing of it reaches the hub any more. */
  ending = false;
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

  /** Bytes that wait in this process for a peer that does not read. */
  get unsentBytes(): number {
    return this.#stream?.writableLength ?? 0;
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
    return 0;
  }

  /** Sends what is owed, then the close frame. `ws` destroys the stream if the peer does not answer in time. */
  end(code: number, reason: string | Buffer): void {
    if (this.ending) return;
    this.flush(Infinity);
    this.ending = true;
    this.close(code, reason);
  }

  /** To be called once per ping round. How many rounds in a row have brought not one byte from the peer. */
  silentRounds(): number {
    const bytes = this.#stream?.bytesRead ?? 0;
    this.#silentRounds = bytes === this.#seenBytes ? this.#silentRounds + 1 : 0;
    this.#seenBytes = bytes;
    return this.#silentRounds;
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

function onClose(this: WebSocket): void {
  const socket = this as ClientSocket;
  socket.taker?.onClosed(socket);
}
