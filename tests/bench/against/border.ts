// Calls a Sidekick module through its C ABI (wasm-bindings/sidekick_abi.h), without the host's
// code, so that one driver can run the modules of two commits. It has only the inputs it needs, by
// ABI version: add a new version to `layouts`, and keep the old ones.
import { readFileSync } from "node:fs";

interface Exports {
  readonly memory: WebAssembly.Memory;
  _initialize?(): void;
  sidekick_abi_version(): number;
  sidekick_buffer(size: number): number;
  sidekick_create(size: number): number;
  sidekick_handle(hub: number, size: number): number;
}

/** An input in the layout of the module's buffer. Its words can be changed in place. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
}

/** How one version of the ABI lays out the bench's inputs. */
interface Layout {
  open(now: number, client: number): Block;
  frame(now: number, client: number, text: string): Block;
  post(now: number, path: string, body: string): Block;
  answer(now: number, forward: number): Block;
  /** The word of an `answer` that names its forward. */
  readonly answerForward: number;
  /** The tags of actions. */
  readonly send: number;
  readonly forward: number;
  readonly putToken: number;
}

const secret = "benchmark-secret";
const encoder = new TextEncoder();

/** tag, time, the fields' words, then the bytes of the texts among them. */
function block(tag: number, now: number, ...fields: (number | string)[]): Block {
  const texts = fields.map((field) =>
    typeof field === "string" ? encoder.encode(field) : undefined,
  );
  const head = [
    tag,
    now >>> 0,
    Math.floor(now / 2 ** 32),
    ...fields.map((field, i) => texts[i]?.length ?? (field as number)),
  ];
  const size = texts.reduce((sum, text) => sum + (text?.length ?? 0), head.length * 4);
  const bytes = new Uint8Array(size);
  const words = new Uint32Array(bytes.buffer, 0, head.length);
  words.set(head);
  let at = head.length * 4;
  for (const text of texts) {
    if (text === undefined) continue;
    bytes.set(text, at);
    at += text.length;
  }
  return { bytes, words };
}

const layouts: Readonly<Record<number, Layout>> = {
  1: {
    open: (now, client) => block(1, now, client),
    frame: (now, client, text) => block(2, now, client, text),
    post: (now, path, body) =>
      block(5, now, 1, encoder.encode(body).length, "POST", path, `Bearer ${secret}`, body),
    answer: (now, forward) => block(6, now, forward, 204, ""),
    answerForward: 3,
    send: 4,
    forward: 6,
    putToken: 1,
  },
  2: {
    open: (now, client) => block(1, now, client),
    frame: (now, client, text) => block(2, now, client, text, 1),
    post: (now, path, body) =>
      block(5, now, 1, encoder.encode(body).length, "POST", path, `Bearer ${secret}`, body, ""),
    answer: (now, forward) => block(6, now, forward, 0, 204, "", 0),
    answerForward: 3, // the low word; without `begin` ids are small
    send: 4,
    forward: 6,
    putToken: 1,
  },
};

/** One hub in an instance of its own. */
export class ModuleHub {
  readonly layout: Layout;
  readonly #exports: Exports;
  readonly #hub: number;
  readonly #buffer: number;
  #bytes = new Uint8Array(0);
  #words = new Uint32Array(0);

  constructor(module: WebAssembly.Module) {
    this.#exports = new WebAssembly.Instance(module, {}).exports as unknown as Exports;
    this.#exports._initialize?.();
    const version = this.#exports.sidekick_abi_version();
    const layout = layouts[version];
    if (layout === undefined) {
      const known = Object.keys(layouts).join(", ");
      throw new Error(
        `ABI version: expected ${known}, got ${version}; add it to tests/bench/against/border.ts`,
      );
    }
    this.layout = layout;
    this.#buffer = this.#exports.sidekick_buffer(1 << 20);
    this.#look();
    const config = encoder.encode(
      JSON.stringify({ secrets: [secret], hash_seed: "0123456789abcdef" }),
    );
    this.#bytes.set(config, this.#buffer);
    this.#hub = this.#exports.sidekick_create(config.length);
    if (this.#hub === 0) throw new Error("the module refused the configuration of the bench");
  }

  /** Returns the index of the first action's tag among `words`; there must be one. */
  apply(input: Block): number {
    if (this.#bytes.length === 0) this.#look(); // the memory has grown
    this.#bytes.set(input.bytes, this.#buffer);
    const actions = this.#exports.sidekick_handle(this.#hub, input.bytes.length) >>> 2;
    if (this.#words.length === 0) this.#look();
    if (this.#words[actions] === 0) throw new Error("expected an action, got none");
    return actions + 1;
  }

  word(index: number): number {
    return this.#words[index]!;
  }

  /** For inputs without actions. */
  quietly(input: Block): void {
    if (this.#bytes.length === 0) this.#look();
    this.#bytes.set(input.bytes, this.#buffer);
    this.#exports.sidekick_handle(this.#hub, input.bytes.length);
  }

  #look(): void {
    this.#bytes = new Uint8Array(this.#exports.memory.buffer);
    this.#words = new Uint32Array(this.#exports.memory.buffer);
  }
}

export const load = (file: string) => new WebAssembly.Module(readFileSync(file));
