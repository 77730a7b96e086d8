// Writes a trace to a file, behind the back of everything else: it is never waited for, and when the disk fails or falls too
// far behind, the recording ends and the server goes on.
import { closeSync, constants, createWriteStream, fstatSync, openSync, readSync } from "node:fs";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import type { Log } from "./log.js";

const UNWRITTEN_BYTES_MAX = 64 * 1024 * 1024;
/** Each write goes through another thread, which costs as much as a request: so many lines go at once. */
const WRITTEN_AFTER_MS = 5;
const CLOSED_AFTER_MS_MAX = 2000;
const NEWLINE = Buffer.from("\n");

export class Recorder {
  readonly #path: string;
  readonly #log: Log;
  readonly #stream: Writable;
  #state: "open" | "closing" | "over" = "open";

  /**
   * Appends: a trace may hold several recordings, and a restart must not wipe out the one that shows why.
   * @throws the error of node:fs when the file cannot be opened: ENXIO for a pipe that nobody reads
   */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    // At once: who asks for a recording wants none of a server without.
    const { stream, isTorn } = open(path);
    this.#stream = stream;
    this.#stream.on("error", (error) => this.#stop(error.message));
    if (isTorn) this.write(NEWLINE);
  }

  get active(): boolean {
    return this.#state === "open";
  }

  /** @param lines whole lines; copied */
  write(lines: Uint8Array): void {
    if (!this.active || lines.byteLength === 0) return;
    if (this.#stream.writableCorked === 0) {
      this.#stream.cork();
      setTimeout(() => this.#stream.uncork(), WRITTEN_AFTER_MS);
    }
    this.#stream.write(Buffer.from(lines));
    if (this.#stream.writableLength > UNWRITTEN_BYTES_MAX) this.#stop("the disk is too slow");
  }

  /**
   * Resolves when everything is on its way to the disk, however slow that is, or will not be: a pipe that nobody reads must not keep a server
   * from ending. What is written from now on comes too late.
   */
  async close(): Promise<void> {
    if (!this.active) return;
    this.#state = "closing";
    const ends = [new Promise<void>((resolve) => this.#stream.once("close", resolve))];
    if (this.#stream instanceof Socket)
      ends.push(new Promise((resolve) => setTimeout(resolve, CLOSED_AFTER_MS_MAX).unref()));
    this.#stream.end();
    await Promise.race(ends);
    if (!this.#stream.destroyed)
      this.#stop(
        `${this.#stream.writableLength} bytes were not taken in ${CLOSED_AFTER_MS_MAX} ms`,
      );
  }

  /** Said here and not when the stream says it: a write that hangs keeps that from saying anything. */
  #stop(reason: string): void {
    if (this.#state === "over") return;
    const what =
      this.#state === "open"
        ? "the recording has stopped, the server goes on"
        : "the recording has stopped, its end is missing";
    this.#state = "over";
    this.#stream.destroy();
    this.#log.error(what, { file: this.#path, reason });
  }
}

/** Only for the owner: a trace holds messages and tokens. */
function open(path: string): { stream: Writable; isTorn: boolean } {
  const file = openForAppending(path);
  const about = fstatSync(file);
  // A pipe as the event loop writes to it: a thread that waits for its reader could not be ended.
  if (about.isFIFO()) return { stream: new Socket({ fd: file, readable: false }), isTorn: false };
  return {
    stream: createWriteStream(path, { fd: file }),
    isTorn: about.isFile() && about.size > 0 && endsInMidLine(path, about.size),
  };
}

function openForAppending(path: string): number {
  try {
    return openSync(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK,
      0o600,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENXIO")
      (error as Error).message = "ENXIO: nobody reads this pipe, start its reader first";
    throw error;
  }
}

/** A host that was killed may have left half a line: what follows must not become its other half. */
function endsInMidLine(path: string, size: number): boolean {
  const file = openSync(path, "r");
  try {
    const last = Buffer.from(NEWLINE);
    readSync(file, last, 0, 1, size - 1);
    return !last.equals(NEWLINE);
  } finally {
    closeSync(file);
  }
}
