// A recording in memory: its bytes in pieces, and for each line where it starts and of what kind it
// is. Numbers in typed arrays, no object per line: a recording may have millions.
import type { Members } from "./message.js";
import { isMembers } from "./message.js";

/** Kinds of lines, in this order. */
export const KINDS = [
  "broken",
  "trace",
  "hash",
  "gap",
  // inputs
  "client_opened",
  "client_frame",
  "client_closed",
  "client_lagging",
  "http_request",
  "forward_done",
  "timer_fired",
  "restore_token",
  "restore_client",
  "shutting_down",
  "begin",
  "restored",
  "not_stored",
  "engine_up",
  "engine_down",
  "engine_answer",
  "engine_message",
  "draining",
  // actions
  "put_token",
  "erase_token",
  "attach_client",
  "send",
  "respond",
  "forward",
  "close",
  "set_timer",
  "touch_token",
  "cancel_forward",
  "engine_run",
  "engine_join",
  "engine_leave",
] as const;
export type Kind = (typeof KINDS)[number];

const FIRST_INPUT = KINDS.indexOf("client_opened");
const FIRST_ACTION = KINDS.indexOf("put_token");
/** Set in a line's kind if a peer is told an error. */
const ERROR = 128;

const PIECE_BYTES = 8 << 20;
/** A line's place is its piece times this, and its offset. */
const PIECE_SPAN = 2 ** 32;

const codes = new Map(KINDS.map((kind, code) => [nameHash(new TextEncoder().encode(kind)), code]));

function nameHash(name: Uint8Array): number {
  let hash = name.length;
  for (const byte of name) hash = (Math.imul(hash, 31) + byte) | 0;
  return hash;
}

class Numbers<A extends Float64Array | Uint32Array | Uint8Array> {
  length = 0;
  constructor(public values: A) {}

  push(value: number): void {
    if (this.length === this.values.length) {
      const Own = this.values.constructor as new (length: number) => A;
      const grown = new Own(this.values.length * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[this.length++] = value;
  }

  at(index: number): number {
    return this.values[index]!;
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export class Recording {
  readonly #pieces: Uint8Array<ArrayBuffer>[] = [];
  #piece = new Uint8Array(PIECE_BYTES);
  #used = 0;
  #lineStart = 0; // of the unfinished line, in the piece
  readonly #starts = new Numbers(new Float64Array(1024));
  readonly #lengths = new Numbers(new Uint32Array(1024));
  readonly #kinds = new Numbers(new Uint8Array(1024));
  /** A group is an input with its actions and hashes, or a header line. Lines from 0. */
  readonly #groups = new Numbers(new Uint32Array(256));
  readonly #times = new Numbers(new Float64Array(256));
  /** The groups of the header lines. */
  readonly hubs: number[] = [];
  bytes = 0;
  inputCount = 0;
  /** The last line has no newline: the recording may be cut off in it. */
  isCut = false;
  /** Whether the times never go back. */
  isOrdered = true;

  get lineCount(): number {
    return this.#starts.length;
  }

  get groupCount(): number {
    return this.#groups.length;
  }

  /** Takes bytes of the file in order. */
  add(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    let from = 0;
    while (from < chunk.length) {
      const newline = chunk.indexOf(10, from);
      const end = newline < 0 ? chunk.length : newline;
      this.#append(chunk.subarray(from, end));
      if (newline < 0) return;
      this.#endLine();
      from = newline + 1;
    }
  }

  /** The last line may lack its newline. */
  end(): void {
    this.isCut = this.#used > this.#lineStart;
    if (this.isCut) this.#endLine();
  }

  #append(part: Uint8Array): void {
    if (this.#used + part.length > this.#piece.length) {
      const line = this.#piece.subarray(this.#lineStart, this.#used);
      const needed = line.length + part.length;
      const next = new Uint8Array(Math.max(PIECE_BYTES, needed * 2));
      next.set(line);
      this.#pieces.push(this.#piece);
      this.#piece = next;
      this.#used = line.length;
      this.#lineStart = 0;
    }
    this.#piece.set(part, this.#used);
    this.#used += part.length;
  }

  #endLine(): void {
    const line = this.#piece.subarray(this.#lineStart, this.#used);
    const kind = kindOf(line);
    const isStart = isInput(kind & ~ERROR) || KINDS[kind] === "trace" || this.groupCount === 0;
    if (isInput(kind & ~ERROR)) this.inputCount++;
    if (isStart) {
      if (KINDS[kind] === "trace") this.hubs.push(this.groupCount);
      this.#groups.push(this.lineCount);
      const last = this.#times.length === 0 ? 0 : this.#times.at(this.#times.length - 1);
      const time = isInput(kind & ~ERROR) ? timeOf(line, last) : last;
      this.#times.push(time);
      if (time < last) this.isOrdered = false;
    }
    this.#starts.push(this.#pieces.length * PIECE_SPAN + this.#lineStart);
    this.#lengths.push(line.length);
    this.#kinds.push(kind);
    this.#lineStart = this.#used;
  }

  kind(line: number): Kind {
    return KINDS[this.#kinds.at(line) & ~ERROR]!;
  }

  isError(line: number): boolean {
    return (this.#kinds.at(line) & ERROR) !== 0;
  }

  isInput(line: number): boolean {
    return isInput(this.#kinds.at(line) & ~ERROR);
  }

  isAction(line: number): boolean {
    return (this.#kinds.at(line) & ~ERROR) >= FIRST_ACTION;
  }

  lineBytes(line: number): Uint8Array<ArrayBuffer> {
    const start = this.#starts.at(line);
    const piece = Math.floor(start / PIECE_SPAN);
    const from = start - piece * PIECE_SPAN;
    const bytes = piece === this.#pieces.length ? this.#piece : this.#pieces[piece]!;
    return bytes.subarray(from, from + this.#lengths.at(line));
  }

  text(line: number): string {
    return decoder.decode(this.lineBytes(line));
  }

  /** At most so many bytes. */
  textStart(line: number, bytesMax: number): string {
    return decoder.decode(this.lineBytes(line).subarray(0, bytesMax));
  }

  length(line: number): number {
    return this.#lengths.at(line);
  }

  /** Undefined for a broken line. */
  parse(line: number): Members | undefined {
    try {
      const value: unknown = JSON.parse(this.text(line));
      return isMembers(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }

  firstLine(group: number): number {
    return this.#groups.at(group);
  }

  /** The line after the last one of the group. */
  endLine(group: number): number {
    return group + 1 < this.groupCount ? this.#groups.at(group + 1) : this.lineCount;
  }

  time(group: number): number {
    return this.#times.at(group);
  }

  groupOf(line: number): number {
    let low = 0;
    let high = this.groupCount - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#groups.at(middle) <= line) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The groups of the hub that this group belongs to: from its header, to the next one. */
  hubOf(group: number): { readonly from: number; readonly to: number } {
    let index = this.hubs.length - 1;
    while (index >= 0 && this.hubs[index]! > group) index--; // lines may stand before all headers
    return { from: this.hubs[index] ?? 0, to: this.hubs[index + 1] ?? this.groupCount };
  }
}

function isInput(code: number): boolean {
  return code >= FIRST_INPUT && code < FIRST_ACTION;
}

// {"in":"NAME", {"out":"NAME", {"trace": {"hash": {"gap":
function kindOf(line: Uint8Array): number {
  const third = line[2];
  if (line[0] !== 0x7b || line[1] !== 0x22 || line[line.length - 1] !== 0x7d) return 0;
  let from = 0;
  if (third === 0x69 && line[3] === 0x6e) from = 7;
  else if (third === 0x6f && line[3] === 0x75) from = 8;
  else if (third === 0x74) return KINDS.indexOf("trace");
  else if (third === 0x68) return KINDS.indexOf("hash");
  else if (third === 0x67) return KINDS.indexOf("gap");
  else return 0;
  let hash = 0;
  let end = from;
  while (end < line.length && end < from + 20 && line[end] !== 0x22) end++;
  hash = end - from;
  for (let at = from; at < end; at++) hash = (Math.imul(hash, 31) + line[at]!) | 0;
  const code = codes.get(hash) ?? 0;
  if (!(from === 7 ? isInput(code) : code >= FIRST_ACTION)) return 0;
  return isErrorLine(line, code) ? code | ERROR : code;
}

const SEND = KINDS.indexOf("send");
const RESPOND = KINDS.indexOf("respond");
const CLOSE = KINDS.indexOf("close");
const NAME_MAX = 24;

/** The last member is "code" (of a close: "why"), and it is another than "ok". */
function isErrorLine(line: Uint8Array, code: number): boolean {
  if (code !== SEND && code !== RESPOND && code !== CLOSE) return false;
  let at = line.length - 3; // before "}
  const until = Math.max(0, at - NAME_MAX);
  while (at > until && line[at] !== 0x22) at--;
  // ,"code":" or ,"why":"
  if (line[at - 1] !== 0x3a || line[at - 2] !== 0x22 || line[at - 3] === 0x5c) return false;
  return line[at - 3] === (code === CLOSE ? 0x79 : 0x65);
}

/** Of a `Date`. */
const TIME_MAX = 8.64e15;

/** The digits after "now":, which is the second member. */
function timeOf(line: Uint8Array, otherwise: number): number {
  let at = 7;
  while (at < line.length && line[at] !== 0x22) at++;
  at += 8; // ","now":
  let time = 0;
  let digits = 0;
  for (let byte = line[at]!; byte >= 0x30 && byte <= 0x39; byte = line[++at]!) {
    time = time * 10 + byte - 0x30;
    digits++;
  }
  return digits === 0 || time > TIME_MAX ? otherwise : time;
}
