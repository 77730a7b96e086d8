// Writes a trace to a file asynchronously. Nothing waits for it: if the disk fails or falls too far
// behind, the recording ends and the server continues.
import {
  closeSync,
  constants,
  createReadStream,
  createWriteStream,
  fstatSync,
  openSync,
  readSync,
  statSync,
} from "node:fs";
import { Socket } from "node:net";
import type { Writable } from "node:stream";
import type { Recording } from "../session/io.js";
import type { Log } from "./log.js";
import { keepPrivate } from "./private-file.js";
import { IS_NODE } from "./runtime.js";

const UNWRITTEN_BYTES_MAX = 64 * 1024 * 1024;
/**
 * Each write goes through another thread and costs as much as a request, so lines are written in
 * batches of this size.
 */
const WRITTEN_AFTER_MS = 5;
const CLOSED_AFTER_MS_MAX = 2000;
const NEWLINE = Buffer.from("\n");
/** For the log of a trap. */
export const HOW_TO_RECORD = "none: start with --record FILE to have one";

export class Recorder implements Recording {
  readonly #path: string;
  readonly #log: Log;
  readonly #stream: Writable;
  #state: "open" | "closing" | "over" = "open";
  /** Written since the start, and those before; undefined until they are counted. */
  #lines = 0;
  #linesBefore: number | undefined;

  /**
   * Appends: a trace may hold several recordings, and a restart must not erase the one that shows
   * its cause.
   * @throws the error of node:fs if the file cannot be opened; ENXIO for a pipe without a reader
   */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    // Opened synchronously: if a recording was requested, the server must not start without one.
    const { stream, isTorn, size } = open(path, log);
    this.#stream = stream;
    this.#stream.on("error", (error) => this.#stop(error.message));
    if (size === 0) this.#linesBefore = 0;
    else void this.#countBefore(size);
    if (isTorn) this.write(NEWLINE);
  }

  get isActive(): boolean {
    return this.#state === "open";
  }

  /** FILE:LINE, or FILE alone while the lines of a long file are still being counted. */
  place(): string {
    if (!this.isActive) return "has ended";
    if (this.#linesBefore === undefined) return this.#path;
    return `${this.#path}:${this.#linesBefore + this.#lines + 1}`;
  }

  begin(firstLine: Uint8Array): void {
    this.write(firstLine);
    this.write(NEWLINE);
  }

  restored(): void {}

  /** @param lines whole lines; copied */
  write(lines: Uint8Array): void {
    if (!this.isActive || lines.byteLength === 0) return;
    if (this.#stream.writableCorked === 0) {
      this.#stream.cork();
      setTimeout(() => this.#stream.uncork(), WRITTEN_AFTER_MS);
    }
    const copy = Buffer.from(lines);
    this.#lines += newlinesIn(copy);
    this.#stream.write(copy);
    if (this.#stream.writableLength > UNWRITTEN_BYTES_MAX) this.#stop("the disk is too slow");
  }

  /**
   * Resolves when everything has been handed to the disk, however slow it is, or can no longer be:
   * an unread pipe must not block shutdown. Later writes are dropped.
   */
  async close(): Promise<void> {
    if (!this.isActive) return;
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

  /** A file may be long, and the server must not wait. */
  async #countBefore(size: number): Promise<void> {
    let lines = 0;
    try {
      const before = createReadStream(this.#path, { end: size - 1 });
      for await (const chunk of before as AsyncIterable<Buffer>) {
        if (!this.isActive) return;
        lines += newlinesIn(chunk);
      }
      this.#linesBefore = lines;
    } catch {
      // It can be written to, but not read.
    }
  }

  /** Logged here and not on a stream event: a hanging write prevents such events. */
  #stop(reason: string): void {
    if (this.#state === "over") return;
    const what =
      this.#state === "open"
        ? "the recording has stopped; the server continues"
        : "the recording has stopped; its end is missing";
    this.#state = "over";
    this.#stream.destroy();
    this.#log.error(what, { file: this.#path, reason });
  }
}

function newlinesIn(bytes: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count++;
  return count;
}

/** size: of the file's present content. */
function open(path: string, log: Log): { stream: Writable; isTorn: boolean; size: number } {
  // Neither writes to a pipe from its event loop, and Deno refuses to open one.
  if (!IS_NODE && statSync(path, { throwIfNoEntry: false })?.isFIFO())
    throw Object.assign(new Error("recording into a pipe needs Node: record into a file"), {
      syscall: "open",
    });
  const file = openForAppending(path);
  keepPrivate(file, "the recording", path, log);
  const about = fstatSync(file);
  // Writes to a pipe from the event loop: a thread that waits for the pipe's reader could not be
  // stopped.
  if (about.isFIFO())
    return { stream: new Socket({ fd: file, readable: false }), isTorn: false, size: 0 };
  const size = about.isFile() ? about.size : 0;
  const isTorn = size > 0 && endsInMidLine(path, size);
  return { stream: createWriteStream(path, { fd: file }), isTorn, size };
}

function openForAppending(path: string): number {
  try {
    return openSync(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NONBLOCK,
      0o600,
    );
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENXIO") {
      const about = statSync(path, { throwIfNoEntry: false });
      if (about?.isFIFO())
        (error as Error).message = "ENXIO: nothing reads this pipe; start its reader first";
      if (about?.isSocket())
        (error as Error).message = "ENXIO: this is a socket; record into a file or a pipe";
    }
    throw error;
  }
}

/** A killed host may have left half a line: what follows must not be appended to it. */
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
