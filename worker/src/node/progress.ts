// The progress of reading a large file: one line on a terminal, from one second of work on, erased
// before anything else is printed and when a signal ends the process. Nothing is shown in a pipe or
// file, or on a dumb terminal.
import { fstatSync } from "node:fs";

const QUIET_MS = 1000;
const DRAW_INTERVAL_MS = 200;
const ERASE_LINE = "\r\x1b[K";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export class Progress {
  readonly #what: string;
  readonly #startedAt = performance.now();
  readonly #isShown: boolean;
  #drawnAt = 0;
  #isDrawn = false;
  #size = 0;
  #read = 0;
  #lines = 0;

  /**
   * @param output "stdout": everything is written there meanwhile, so nothing is shown unless
   *   stdout is a file
   */
  constructor(what: string, output: "at the end" | "stdout") {
    this.#what = what;
    const canErase = process.stderr.isTTY === true && process.env["TERM"] !== "dumb";
    this.#isShown = canErase && (output === "at the end" || fstatSync(1).isFile());
  }

  /** @param size in bytes; 0 if unknown */
  openFile(size: number): void {
    this.#size = size;
    this.#read = 0;
    this.#lines = 0;
  }

  onRead(chunk: Uint8Array): void {
    if (!this.#isShown) return;
    this.#read += chunk.byteLength;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) this.#lines++;
    const now = performance.now();
    if (now - this.#startedAt < QUIET_MS || now - this.#drawnAt < DRAW_INTERVAL_MS) return;
    this.#drawnAt = now;
    this.#draw(Math.floor((now - this.#startedAt) / 1000));
  }

  /** Before anything is printed. */
  erase(): void {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    process.stderr.write(ERASE_LINE);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
  }

  #draw(seconds: number): void {
    const percent = Math.floor((Math.min(this.#read, this.#size) * 100) / this.#size);
    const share = this.#size > 0 ? `${percent} % of ${Math.ceil(this.#size / 1_000_000)} MB, ` : "";
    const text = `${this.#what}: ${share}${this.#lines} lines, ${seconds} s`;
    if (!this.#isDrawn) for (const signal of SIGNALS) process.on(signal, this.#onSignal);
    this.#isDrawn = true;
    // A line that wraps could not be erased.
    process.stderr.write(ERASE_LINE + text.slice(0, (process.stderr.columns || 80) - 1));
  }

  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.erase();
    process.kill(process.pid, signal);
  };
}
