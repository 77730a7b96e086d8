// What one turn of the event loop has for each socket. A message's WebSocket frame is built once for all its receivers, and
// sockets that are owed the same frames share one chain of them, so that their bytes are joined once and not per socket.

const TEXT_FRAME = 0x81; // FIN and opcode 1; what a server sends is not masked (RFC 6455, 5.1 and 5.2)
const JOINED_BYTES_MAX = 256 * 1024; // longer ones are handed over in pieces: writev then costs less than the copy

const NOTHING = Buffer.alloc(0);

/** A ping without content. */
export const PING_FRAME: Buffer = Buffer.from([0x89, 0x00]);

/** The frame of one text message. */
export function textFrame(text: Uint8Array): Buffer {
  const size = text.byteLength;
  let frame: Buffer;
  if (size < 126) {
    frame = Buffer.allocUnsafe(2 + size);
    frame[1] = size;
  } else if (size < 65536) {
    frame = Buffer.allocUnsafe(4 + size);
    frame[1] = 126;
    frame.writeUInt16BE(size, 2);
  } else {
    frame = Buffer.allocUnsafe(10 + size);
    frame[1] = 127;
    frame.writeUInt32BE(0, 2);
    frame.writeUInt32BE(size, 6);
  }
  frame[0] = TEXT_FRAME;
  frame.set(text, frame.byteLength - size);
  return frame;
}

/** Frames in order, as a chain in which common beginnings are shared: two sockets with the same frames have the same Batch. */
export class Batch {
  readonly #before: Batch | undefined;
  readonly #frame: Buffer;
  readonly bytes: number;
  #next: Batch | undefined;
  #joined: Buffer | undefined;

  /** An empty beginning. Each turn takes a new one, so that no chain outlives its turn. */
  static start(): Batch {
    return new Batch(undefined, NOTHING);
  }

  private constructor(before: Batch | undefined, frame: Buffer) {
    this.#before = before;
    this.#frame = frame;
    this.bytes = (before?.bytes ?? 0) + frame.byteLength;
  }

  /** This batch and one frame more. A broadcast asks for the same one again and again, and gets the same object. */
  with(frame: Buffer): Batch {
    if (this.#next === undefined || this.#next.#frame !== frame)
      this.#next = new Batch(this, frame);
    return this.#next;
  }

  /** The bytes to write, in as few pieces as is sensible. */
  pieces(): readonly Buffer[] {
    if (this.#joined !== undefined) return [this.#joined];
    const frames: Buffer[] = [];
    for (let batch: Batch = this; batch.#before !== undefined; batch = batch.#before)
      frames.push(batch.#frame);
    frames.reverse();
    if (frames.length > 1 && this.bytes > JOINED_BYTES_MAX) return frames;
    this.#joined = frames.length === 1 ? frames[0]! : Buffer.concat(frames, this.bytes);
    return [this.#joined];
  }
}
