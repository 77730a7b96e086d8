// The outbox of one turn of the event loop. A message's WebSocket frame is built once for all its
// receivers. Sockets with the same pending frames share one chain of them, so that the bytes are
// joined once and not per socket.

// FIN and opcode 1; a server does not mask (RFC 6455, sections 5.1 and 5.2)
const TEXT_FRAME = 0x81;
// longer frames are passed on in pieces: writev is then cheaper than a copy
const JOINED_BYTES_MAX = 256 * 1024;

const NOTHING = Buffer.alloc(0);

/** A ping without payload. */
export const PING_FRAME: Buffer = Buffer.from([0x89, 0x00]);

/** Encodes one text message as a frame. */
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

/**
 * Frames in order, as a chain with shared prefixes: two sockets with the same frames have the same
 * Batch.
 */
export class Batch {
  readonly #before: Batch | undefined;
  readonly #frame: Buffer;
  readonly bytes: number;
  #next: Batch | undefined;
  #joined: Buffer | undefined;

  /** An empty chain. Each turn starts a new one, so that no chain outlives its turn. */
  static start(): Batch {
    return new Batch(undefined, NOTHING);
  }

  private constructor(before: Batch | undefined, frame: Buffer) {
    this.#before = before;
    this.#frame = frame;
    this.bytes = (before?.bytes ?? 0) + frame.byteLength;
  }

  /** This batch plus one frame. During a broadcast, repeated calls return the same object. */
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
