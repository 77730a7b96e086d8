// The latest recordings, whole ones: a replay must begin with the first line of one. Where the storage refuses a row the recording ends there,
// and nothing else. Knows nothing of what the lines mean.
// Must never hold back a delivery. What an object sends waits until all that it has written before is confirmed, but for what was written with
// `allowUnconfirmed`. SQL has no such option, so these rows are in the key-value part of the storage.
import { joined } from "./bytes.js";

const UNCONFIRMED = { allowUnconfirmed: true };
const PREFIX = "trace/";
/** A value may have 2 MB. */
const ROW_BYTES_MAX = 1 << 20;
/** Below this a row is written anew with what is appended: it is one day deleted, and that is billed by the row. */
const GROWING_BYTES_MAX = 1 << 12;
/** A row costs as much as a message does: lines wait so long for more. An object that waits for a timer does not sleep. */
const FLUSHED_AFTER_MS = 10;
/** At once, at most. */
const DELETED_KEYS_MAX = 128;
const NEWLINE = new Uint8Array([10]);
const NOTHING = new Uint8Array(0);

/** Positions count the bytes of everything that was ever recorded. */
interface Row {
  readonly key: string;
  readonly at: number;
  /** Where its recording begins. */
  readonly recording: number;
  readonly bytes: Uint8Array;
}

export class TraceRing {
  readonly #storage: DurableObjectStorage;
  /** Where the recording at hand begins; undefined: there is none. */
  #recording: number | undefined;
  #bytes = 0;
  /** The row that may still grow. */
  #row = NOTHING;
  #rowAt = 0;
  /** Written, and in no row yet: rows are billed by their number. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Whether what is written is stored. */
  get isOpen(): boolean {
    return this.#recording !== undefined;
  }

  /** How many bytes the recording at hand has. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Begins another recording, with this line. Of the others remain the latest, and those that have begun in the `bytesMax` bytes before this one. */
  begin(bytesMax: number, firstLine: Uint8Array): void {
    this.flush();
    this.#recording = undefined;
    this.#bytes = 0;
    this.#row = NOTHING;
    this.#tolerantly(() => {
      const last = this.#last();
      this.#rowAt = endOf(last);
      this.#drop(
        (row) => row.recording < this.#rowAt - bytesMax && row.recording !== last?.recording,
      );
      this.#recording = this.#rowAt;
    });
    this.write(firstLine);
    this.write(NEWLINE);
  }

  /** From the oldest on, up to the first that is not `old`. */
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

  /** Copies. What is written takes a row with the next flush, or when it would fill one. */
  write(lines: Uint8Array): void {
    if (this.#recording === undefined) return;
    if (this.#waitingBytes + lines.byteLength > ROW_BYTES_MAX) this.flush();
    if (this.#recording === undefined) return; // the flush was refused
    this.#waiting.push(lines.slice());
    this.#waitingBytes += lines.byteLength;
    this.#bytes += lines.byteLength;
  }

  flushSoon(): void {
    if (this.#waitingBytes > 0) this.#timer ??= setTimeout(() => this.flush(), FLUSHED_AFTER_MS);
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
        const row = left.slice(0, ROW_BYTES_MAX); // a copy: with a view the whole buffer would be stored
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

  /** All of it as it is now, a row at a time: together they may be larger than memory is. */
  stream(): ReadableStream<Uint8Array> {
    this.flush();
    const end = endOf(this.#last());
    let next: number | undefined;
    return new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const [row] = this.#rows({ limit: 1, ...(next !== undefined && { start: keyOf(next) }) });
        // Where it has been dropped meanwhile it ends, as if it had been cut off.
        if (row === undefined || row.at >= end || (next !== undefined && row.at !== next)) {
          controller.close();
          controller.byobRequest?.respond(0);
          return;
        }
        next = endOf(row);
        controller.enqueue(row.bytes.subarray(0, end - row.at)); // it may have grown
      },
    });
  }

  #last(): Row | undefined {
    return [...this.#rows({ reverse: true, limit: 1 })][0];
  }

  /** By ascending position. Nothing must be written or listed meanwhile. */
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
    this.#waiting = []; // or the next recording would begin with them
    this.#waitingBytes = 0;
    console.error(
      `the recording ends here, since it cannot be stored: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Sorted as the positions are. Without `recording` it stands before all rows at this position. */
function keyOf(at: number, recording?: number): string {
  const digits = (position: number) => String(position).padStart(16, "0");
  return `${PREFIX}${digits(at)}/${recording === undefined ? "" : digits(recording)}`;
}

function endOf(row: Row | undefined): number {
  return row === undefined ? 0 : row.at + row.bytes.byteLength;
}
