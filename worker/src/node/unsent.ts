// The memory of messages that sockets have not taken. A message that waits for several sockets
// counts once, since they share its bytes. Closes nothing.

/** One piece of output that waits. */
interface Piece {
  readonly bytes: number;
  sockets: number;
}

/** All sockets together. */
export class Unsent {
  /** Too high until each backlog has been told what was taken. */
  bytes = 0;
  readonly #pieces = new WeakMap<Buffer, Piece>();

  hold(buffer: Buffer): Piece {
    let piece = this.#pieces.get(buffer);
    if (piece === undefined) {
      piece = { bytes: buffer.byteLength, sockets: 0 };
      this.#pieces.set(buffer, piece);
    }
    if (++piece.sockets === 1) this.bytes += piece.bytes;
    return piece;
  }

  release(piece: Piece): void {
    if (--piece.sockets === 0) this.bytes -= piece.bytes;
  }
}

/** One socket that has not taken everything. */
export class Backlog {
  readonly #unsent: Unsent;
  readonly #pieces: Piece[] = [];
  #bytes = 0;

  constructor(unsent: Unsent) {
    this.#unsent = unsent;
  }

  add(buffer: Buffer): void {
    this.#pieces.push(this.#unsent.hold(buffer));
    this.#bytes += buffer.byteLength;
  }

  /** The socket has taken everything but the latest `left` bytes. Returns whether nothing waits. */
  keep(left: number): boolean {
    while (this.#pieces.length > 0 && this.#bytes - this.#pieces[0]!.bytes >= left) {
      const taken = this.#pieces.shift()!;
      this.#bytes -= taken.bytes;
      this.#unsent.release(taken);
    }
    return this.#pieces.length === 0;
  }

  /** Its part of the memory: an equal one of each piece that waits for several sockets. */
  get share(): number {
    return this.#pieces.reduce((share, { bytes, sockets }) => share + bytes / sockets, 0);
  }
}
