// Reads and writes the module's memory in the layout of wasm-bindings/sidekick_abi.h. Owns the
// views, which it recreates when the memory grows. border.generated.ts knows the fields.

import type { WasmMemory } from "./wasm.js";

/** Bytes for the module: raw, or text that is encoded as UTF-8. */
export type Bytes = Uint8Array | string;

/** Upper bound of the buffer bytes that `value` needs. */
export function bytesMax(value: Bytes): number {
  return typeof value === "string" ? value.length * 3 : value.byteLength;
}

export function listBytesMax(values: readonly Bytes[]): number {
  return values.reduce((sum, value) => sum + bytesMax(value), 0);
}

const HEADER_WORDS = 3; // tag, now_low, now_high
const TWO_TO_32 = 2 ** 32;
const SHORT_TEXT_MAX = 64;
const encoder = new TextEncoder();

/** Writes inputs and other texts into the module's single input buffer. */
export class InputWriter {
  readonly #memory: WasmMemory;
  readonly #buffer: (size: number) => number;
  #address = 0;
  #capacity = 0;
  #words = new Uint32Array(0);
  #bytes = new Uint8Array(0);
  #word = 0;
  #byte = 0;

  constructor(memory: WasmMemory, buffer: (size: number) => number) {
    this.#memory = memory;
    this.#buffer = buffer;
  }

  begin(tag: number, now: number, words: number, bytes: number): void {
    const start = (HEADER_WORDS + words) * 4;
    this.#reserve(start + bytes);
    this.#word = this.#address >>> 2;
    this.#byte = this.#address + start;
    this.u32(tag);
    this.u64(now);
  }

  u32(value: number): void {
    this.#words[this.#word++] = value;
  }

  u64(value: number): void {
    this.#words[this.#word++] = value >>> 0;
    this.#words[this.#word++] = Math.floor(value / TWO_TO_32);
  }

  /** The length goes into the next word, the content after all words. */
  bytes(value: Bytes): void {
    this.#words[this.#word++] = this.#append(value);
  }

  /** The count goes into the next word, the lengths follow. */
  list(values: readonly Bytes[]): void {
    this.u32(values.length);
    for (const value of values) this.bytes(value);
  }

  end(): number {
    return this.#byte - this.#address;
  }

  /** Writes texts consecutively from the start of the buffer, and returns the size of each. */
  texts(...values: Bytes[]): number[] {
    this.#reserve(listBytesMax(values));
    this.#byte = this.#address;
    return values.map((value) => this.#append(value));
  }

  #append(value: Bytes): number {
    let size: number;
    if (typeof value === "string") {
      size =
        this.#appendShort(value) ??
        encoder.encodeInto(value, this.#bytes.subarray(this.#byte)).written;
    } else {
      this.#bytes.set(value, this.#byte);
      size = value.byteLength;
    }
    this.#byte += size;
    return size;
  }

  /** For methods, paths and secrets: faster than encodeInto. Undefined: too long, or not ASCII. */
  #appendShort(value: string): number | undefined {
    if (value.length > SHORT_TEXT_MAX) return undefined;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return undefined;
      this.#bytes[this.#byte + i] = code;
    }
    return value.length;
  }

  #reserve(size: number): void {
    if (size > this.#capacity) {
      this.#capacity = 2 ** Math.ceil(Math.log2(Math.max(size, 4096)));
      this.#address = this.#buffer(this.#capacity) >>> 0;
    }
    const memory = this.#memory.buffer;
    if (this.#bytes.buffer !== memory) {
      this.#bytes = new Uint8Array(memory);
      this.#words = new Uint32Array(memory);
    }
  }
}

/**
 * Reads the flat block of actions and other texts of the module. Returned values are views, valid
 * until the next call.
 */
export class ActionReader {
  readonly #memory: WasmMemory;
  #words = new Uint32Array(0);
  #word = 0;

  constructor(memory: WasmMemory) {
    this.#memory = memory;
  }

  at(address: number): this {
    if (this.#words.buffer !== this.#memory.buffer)
      this.#words = new Uint32Array(this.#memory.buffer);
    this.#word = address >>> 2;
    return this;
  }

  u32(): number {
    return this.#words[this.#word++]!;
  }

  u64(): number {
    const low = this.u32();
    return low + this.u32() * TWO_TO_32;
  }

  bytes(): Uint8Array {
    const address = this.u32();
    return new Uint8Array(this.#memory.buffer, address, this.u32());
  }

  list(): Uint8Array[] {
    return Array.from({ length: this.u32() }, () => this.bytes());
  }

  ids(): Uint32Array {
    const address = this.u32();
    return new Uint32Array(this.#memory.buffer, address, this.u32());
  }
}
