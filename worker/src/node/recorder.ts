// Writes a trace to a file, behind the back of everything else: it is never waited for, and when the disk fails or falls too
// far behind, the recording ends and the server goes on.
import { createWriteStream, openSync } from "node:fs";
import type { WriteStream } from "node:fs";
import type { Log } from "./log.js";

const UNWRITTEN_BYTES_MAX = 64 * 1024 * 1024;

export class Recorder {
  readonly #path: string;
  readonly #log: Log;
  #stream: WriteStream | undefined;

  /**
   * Appends: a trace may hold several recordings, and a restart must not wipe out the one that shows why.
   * @throws the error of node:fs when the file cannot be opened
   */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    // Only for the owner: a trace holds messages and tokens. At once: who asks for a recording wants none of a server without.
    this.#stream = createWriteStream(path, { fd: openSync(path, "a", 0o600) });
    this.#stream.on("error", (error) => this.#stop(error.message));
  }

  get active(): boolean {
    return this.#stream !== undefined;
  }

  /** @param lines whole lines; copied */
  write(lines: Uint8Array): void {
    if (this.#stream === undefined || lines.byteLength === 0) return;
    this.#stream.write(Buffer.from(lines));
    if (this.#stream.writableLength > UNWRITTEN_BYTES_MAX) this.#stop("the disk is too slow");
  }

  /** Resolves when everything is on its way to the disk. */
  async close(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined || stream.destroyed) return;
    await new Promise<void>((resolve) => {
      stream.on("close", resolve);
      stream.on("error", () => resolve());
      stream.end();
    });
  }

  #stop(reason: string): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined) return;
    stream.destroy();
    this.#log.error("the recording has stopped, the server goes on", { file: this.#path, reason });
  }
}
