// The latest recordings, whole ones: a replay must begin with the first line of one. Where the
// storage refuses a row the recording ends there, and nothing else. Knows nothing of what the lines
// mean. Must never hold back a delivery. What an object sends waits until all that it has written
// before is confirmed, but for what was written with `allowUnconfirmed`. SQL has no such option, so
// these rows are in the key-value part of the storage.
import type { Recording } from "../session/io.js";
import { joined } from "./bytes.js";
import { logLine } from "./log.js";

const UNCONFIRMED = { allowUnconfirmed: true };
const PREFIX = "trace/";
/** A value holds at most 2 MB. */
const ROW_BYTES_MAX = 1 << 20;
/**
 * Below this size a row is rewritten with what is appended: each row is deleted one day, which is
 * billed per row.
 */
const GROWING_BYTES_MAX = 1 << 12;
/**
 * A row costs as much as a message, so lines wait this long for more. An object with a pending
 * timer does not hibernate.
 */
const FLUSHED_AFTER_MS = 10;
/** Maximum per flush. */
const DELETED_KEYS_MAX = 128;
const NEWLINE = new Uint8Array([10]);
const NOTHING = new Uint8Array(0);

/** Positions count the bytes of everything recorded so far. */
interface Row {
  readonly key: string;
  readonly at: number;
  /** Start of the recording that the row belongs to. */
  readonly recording: number;
  readonly bytes: Uint8Array;
}

export class TraceRing implements Recording {
  readonly #storage: DurableObjectStorage;
  readonly #bytesMax: number;
  readonly #onWrite: () => void;
  /** Start of the current recording; undefined if there is none. */
  #recording: number | undefined;
  #bytes = 0;
  #lines = 0;
  /** Those that belong to the restore of the hub. */
  #restoredBytes = 0;
  /** The row that may still grow. */
  #row = NOTHING;
  #rowAt = 0;
  /** Recorded but not in a row yet: rows are billed by number. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param onWrite called after lines were written: the recording may be long now */
  constructor(storage: DurableObjectStorage, bytesMax: number, onWrite: () => void) {
    this.#storage = storage;
    this.#bytesMax = bytesMax;
    this.#onWrite = onWrite;
  }

  /** The oldest recordings are dropped, so lines are counted from the start of this one. */
  place(epoch: number): string {
    return `GET /trace, line ${this.#lines + 1} of the recording with epoch ${epoch}`;
  }

  get isActive(): boolean {
    return this.#recording !== undefined && !this.#isLongerThan(1);
  }

  /** Whether a new recording is due, with a new hub: a replay does what a restored hub does. */
  get isLong(): boolean {
    return this.#isLongerThan(0.5);
  }

  /** The restore does not count towards the limit: a long restore must not trigger the next one. */
  #isLongerThan(share: number): boolean {
    return this.#bytes - this.#restoredBytes > share * this.#bytesMax;
  }

  /**
   * Starts a new recording with this line. Keeps the previous recording, and those that started
   * within the last `bytesMax` bytes.
   */
  begin(firstLine: Uint8Array): void {
    this.flush();
    this.#recording = undefined;
    this.#bytes = 0;
    this.#lines = 0;
    this.#restoredBytes = Infinity;
    this.#row = NOTHING;
    this.#tolerantly(() => {
      const last = this.#last();
      this.#rowAt = endOf(last);
      this.#drop(
        (row) => row.recording < this.#rowAt - this.#bytesMax && row.recording !== last?.recording,
      );
      this.#recording = this.#rowAt;
    });
    this.write(firstLine);
    this.write(NEWLINE);
  }

  restored(): void {
    this.flush();
    this.#restoredBytes = this.#bytes;
  }

  /** From the oldest row to the first that is not `old`. */
  #drop(old: (row: Row) => boolean): void {
    const keys: string[] = [];
    for (const row of this.#rows({})) {
      if (!old(row)) break;
      keys.push(row.key);
    }
    for (let from = 0; from < keys.length; from += DELETED_KEYS_MAX) {
      this.#attend(this.#storage.delete(keys.slice(from, from + DELETED_KEYS_MAX), UNCONFIRMED));
    }
  }

  /** Copies the bytes. They get a row with the next flush, or as soon as they fill one. */
  write(lines: Uint8Array): void {
    if (this.#recording === undefined) return;
    if (this.#waitingBytes + lines.byteLength > ROW_BYTES_MAX) this.flush();
    if (this.#recording === undefined) return; // the flush failed
    this.#waiting.push(lines.slice());
    this.#waitingBytes += lines.byteLength;
    this.#bytes += lines.byteLength;
    for (let at = lines.indexOf(10); at >= 0; at = lines.indexOf(10, at + 1)) this.#lines++;
    this.#timer ??= setTimeout(() => this.flush(), FLUSHED_AFTER_MS);
    this.#onWrite();
  }

  flush(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    const recording = this.#recording;
    if (this.#waitingBytes === 0 || recording === undefined) return;
    let left = joined([this.#row, ...this.#waiting]);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#tolerantly(() => {
      for (;;) {
        // a copy: storing a view would store its whole buffer
        const row = left.slice(0, ROW_BYTES_MAX);
        this.#attend(this.#storage.put(keyOf(this.#rowAt, recording), row, UNCONFIRMED));
        left = left.subarray(row.byteLength);
        if (left.byteLength === 0 && row.byteLength < GROWING_BYTES_MAX) {
          this.#row = row;
          return;
        }
        this.#row = NOTHING;
        this.#rowAt += row.byteLength;
        if (left.byteLength === 0) return;
      }
    });
  }

  /** The recordings as they are now, one row at a time: together they may exceed the memory. */
  stream(): ReadableStream<Uint8Array> {
    this.flush();
    const end = endOf(this.#last());
    let next: number | undefined;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const [row] = this.#rows({ limit: 1, ...(next !== undefined && { start: keyOf(next) }) });
        // If a row has been dropped in the meantime, the recording ends there, as if it had been
        // cut off.
        if (row === undefined || row.at >= end || (next !== undefined && row.at !== next)) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        next = endOf(row);
        controller.enqueue(row.bytes.subarray(0, end - row.at)); // the row may have grown
      },
    });
  }

  #last(): Row | undefined {
    return [...this.#rows({ reverse: true, limit: 1 })][0];
  }

  /** In ascending order of positions. The caller must not write or list during iteration. */
  *#rows(options: SyncKvListOptions): Generator<Row> {
    for (const [key, bytes] of this.#storage.kv.list<Uint8Array>({ prefix: PREFIX, ...options })) {
      const [, at, recording] = key.split("/");
      yield { key, at: Number(at), recording: Number(recording), bytes };
    }
  }

  #tolerantly(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#end(error);
    }
  }

  #attend(written: Promise<unknown>): void {
    const recording = this.#recording;
    written.catch((error: unknown) => {
      if (this.#recording === recording) this.#end(error);
    });
  }

  #end(error: unknown): void {
    this.#recording = undefined;
    this.#waiting = []; // otherwise the next recording would start with them
    this.#waitingBytes = 0;
    logLine(
      "error",
      "the recording ends here, because it cannot be stored: " +
        `${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/**
 * Sorts like the positions. Without `recording`, the key sorts before all rows at this position.
 */
function keyOf(at: number, recording?: number): string {
  const digits = (position: number) => String(position).padStart(16, "0");
  return `${PREFIX}${digits(at)}/${recording === undefined ? "" : digits(recording)}`;
}

function endOf(row: Row | undefined): number {
  return row === undefined ? 0 : row.at + row.bytes.byteLength;
}
