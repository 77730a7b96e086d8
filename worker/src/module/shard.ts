// Loads shard.wasm, the engine that several hubs share on Cloudflare, and offers one shard to a
// host. Runs in workerd and Node. It only translates: the module decides about scripts, tokens,
// joins and rows. core/include/sidekick/shard.hpp describes the machine,
// wasm-bindings/sidekick_shard_abi.h the border.

import { checkModule, ModuleTrap } from "./hub.js";
import { ActionReader, type Bytes, InputWriter, listBytesMax } from "./memory.js";
import type { WasmMemory, WasmModule } from "./wasm.js";

export interface ShardConfig {
  /** 16 hex digits, random and secret: strangers choose names. It changes no answer. */
  readonly hashSeed: string;
  /** Memory for all that is stored; above it, the shard is full. Default: 256 MiB. */
  readonly bytesMax?: number;
  /** Total size of one script's arguments; at least twice the largest message. Default: 64 MiB. */
  readonly runBytesMax?: number;
  /**
   * If not empty, the shard is durable and this is its epoch, such as `v1/16`. It returns rows
   * (takeRows) and is restored from them, and the epoch never changes. Default: not durable.
   */
  readonly epoch?: string;
}

/** status 0: done, with the values of the script. 1: refused, with a text; nothing has changed. */
export interface ShardAnswer {
  readonly status: number;
  readonly values: Uint8Array[];
}

/** A message, and the nodes that receive it as the hub's input `engine_message`. */
export interface Publication {
  readonly nodes: readonly string[];
  /** Empty: the inbox of each node. */
  readonly topic: Uint8Array;
  readonly body: Uint8Array;
}

/** A row to write, replacing the one with this key; without a value: a row to delete. */
export interface ShardRow {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

export interface Hold {
  readonly token: Uint8Array;
  readonly node: string;
  readonly session: Uint8Array;
  /** Milliseconds since the Unix epoch: engine_keep_ms after it was last claimed or reclaimed. */
  readonly expiresAt: number;
}

// As in sidekick_shard_abi.h.
const SHARD_ABI_VERSION = 2;
enum Call {
  run = 1,
  attach,
  detach,
  join,
  leave,
  replace_joins,
  tick,
  restore,
  restored,
  holds,
  joined,
}

interface Exports {
  readonly memory: WasmMemory;
  _initialize?(): void;
  sidekick_shard_abi_version(): number;
  sidekick_shard_buffer(size: number): number;
  sidekick_shard_create(size: number): number;
  sidekick_shard_handle(shard: number, size: number): number;
}

/**
 * One shard in its own instance, so that a trap affects no other. All bytes that it returns are
 * copies.
 *
 * A durable shard of a host with rows:
 * - create it, pass every stored row to restore() in ascending order of the keys' bytes, call
 *   restored(), store takeRows() and set the alarm;
 * - after each call, store takeRows() in its order and in one transaction, before the answer or a
 *   publication leaves the host. If that fails, drop the shard, answer nothing, and restore another
 *   one;
 * - after each call, set the alarm to alarmAt(), if that has changed; when it fires, call tick().
 *
 * After a restore the change log is empty: `changed` answers `all` for positions before it. The
 * shard does not know which topics each node has joined. So each attached node gets the messages of
 * all topics until a call of replaceJoins() for it. When it first leaves a topic, and after every
 * 16 such messages, the node's inbox gets `joins`, which asks for that call.
 *
 * Every method throws ModuleTrap if the module trapped. The shard is then unusable, and rows that
 * takeRows() has not returned are lost: create another shard and restore it.
 */
export class Shard {
  readonly #exports: Exports;
  readonly #writer: InputWriter;
  readonly #reader: ActionReader;
  readonly #shard: number;
  #publications: Publication[] = [];
  #rows: ShardRow[] = [];
  #alarmAt = 0;
  #storedBytes = 0;
  #trap: ModuleTrap | undefined;

  /**
   * @param module shard.wasm, compiled
   * @param server names the process that runs the shard. For a durable shard it is constant, since
   *   a restart loses nothing
   */
  constructor(module: WasmModule, server: string, config: ShardConfig) {
    const instance = new WebAssembly.Instance(checkModule(module, "sidekick_shard_handle"), {});
    this.#exports = instance.exports as unknown as Exports;
    this.#exports._initialize?.();
    const version = this.#exports.sidekick_shard_abi_version();
    if (version !== SHARD_ABI_VERSION) {
      throw new Error(
        `shard module: expected ABI version ${SHARD_ABI_VERSION}, found ${version}; build host ` +
          "and module together",
      );
    }
    this.#writer = new InputWriter(this.#exports.memory, this.#exports.sidekick_shard_buffer);
    this.#reader = new ActionReader(this.#exports.memory);
    this.#shard = this.#create(server, config);
  }

  /**
   * Runs a script of engine.def.
   * @param nowUs microseconds since the Unix epoch; a value earlier than the latest one is fine
   */
  run(nowUs: number, script: Bytes, args: readonly Bytes[]): ShardAnswer {
    return this.#call(Call.run, nowUs, [script, ...args]);
  }

  /** From here on the node receives the messages of its inbox. No effect if it is attached. */
  attach(node: Bytes): void {
    this.#call(Call.attach, 0, [node]);
  }

  /**
   * The node has lost its connection, and all joins with it. A node that connects again is detached
   * first.
   */
  detach(node: Bytes): void {
    this.#call(Call.detach, 0, [node]);
  }

  /**
   * From here on the node receives the messages of these topics too; each once, even if it joins
   * twice.
   * @returns false if it is not attached, which changes nothing
   */
  join(node: Bytes, topics: readonly Bytes[]): boolean {
    return this.#call(Call.join, 0, [node, ...topics]).status === 0;
  }

  leave(node: Bytes, topics: readonly Bytes[]): boolean {
    return this.#call(Call.leave, 0, [node, ...topics]).status === 0;
  }

  /** The node's answer to `joins`: it has joined these topics and no others. */
  replaceJoins(node: Bytes, topics: readonly Bytes[]): boolean {
    return this.#call(Call.replace_joins, 0, [node, ...topics]).status === 0;
  }

  /** The alarm has fired. Firing late, twice or early is harmless. */
  tick(nowUs: number): void {
    this.#call(Call.tick, nowUs, []);
  }

  /** When tick() must be called next, in milliseconds since the Unix epoch; 0: never. */
  alarmAt(): number {
    return this.#alarmAt;
  }

  /**
   * Hands back one stored row.
   * @returns false if the row is ignored: it is damaged, or of a newer version. Log it, keep it
   */
  restore(key: Uint8Array, value: Uint8Array): boolean {
    return this.#call(Call.restore, 0, [key, value]).status === 0;
  }

  /** Ends the restore; of a durable shard, to be called before any script, also without rows. */
  restored(nowUs: number): void {
    this.#call(Call.restored, nowUs, []);
  }

  /** The messages for nodes since the last call of this, in order. */
  takePublications(): Publication[] {
    const taken = this.#publications;
    this.#publications = [];
    return taken;
  }

  /** The rows that a durable shard has to store since the last call of this, in order. */
  takeRows(): ShardRow[] {
    const taken = this.#rows;
    this.#rows = [];
    return taken;
  }

  /** The tokens that sessions of nodes hold, as of the latest call. O(tokens). */
  holds(): Hold[] {
    const { values } = this.#call(Call.holds, 0, []);
    const holds: Hold[] = [];
    for (let i = 0; i < values.length; i += 4) {
      const [token, session] = [values[i]!, values[i + 2]!];
      const expiresAt = Number(name(values[i + 3]!));
      holds.push({ token, node: name(values[i + 1]!), session, expiresAt });
    }
    return holds;
  }

  isAttached(node: Bytes): boolean {
    return this.#call(Call.joined, 0, [node]).status === 0;
  }

  /** The topics that the node is known to have joined, sorted. O(topics). */
  joined(node: Bytes): Uint8Array[] {
    return this.#call(Call.joined, 0, [node]).values;
  }

  /** The quantity that bytesMax limits, as of the latest call. */
  storedBytes(): number {
    return this.#storedBytes;
  }

  /** Size of the module's memory in bytes. It never shrinks. */
  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  #create(server: string, config: ShardConfig): number {
    const seed = /^([0-9a-f]{8})([0-9a-f]{8})$/.exec(config.hashSeed);
    if (seed === null)
      throw new Error(`shard: expected 16 hex digits as hashSeed, got ${config.hashSeed.length}`);
    const texts = [server, config.epoch ?? ""];
    return this.#guard(() => {
      this.#writer.begin(SHARD_ABI_VERSION, 0, 8, listBytesMax(texts));
      this.#writer.u32(Number.parseInt(seed[2]!, 16));
      this.#writer.u32(Number.parseInt(seed[1]!, 16));
      this.#writer.u64(config.bytesMax ?? 0);
      this.#writer.u64(config.runBytesMax ?? 0);
      for (const text of texts) this.#writer.bytes(text);
      return this.#exports.sidekick_shard_create(this.#writer.end());
    });
  }

  #call(call: Call, nowUs: number, texts: readonly Bytes[]): ShardAnswer {
    const address = this.#guard(() => {
      this.#writer.begin(call, nowUs, 1 + texts.length, listBytesMax(texts));
      this.#writer.list(texts);
      return this.#exports.sidekick_shard_handle(this.#shard, this.#writer.end());
    });
    const words = this.#reader.at(address);
    const status = words.u32();
    this.#alarmAt = words.u64();
    this.#storedBytes = words.u64();
    const values = words.list().map((value) => value.slice());
    for (let count = words.u32(); count > 0; count--) {
      const nodes = words.list().map(name);
      this.#publications.push({ nodes, topic: words.bytes().slice(), body: words.bytes().slice() });
    }
    for (let count = words.u32(); count > 0; count--) {
      const key = words.bytes().slice();
      const isPut = words.u32() === 1;
      const value = words.bytes().slice();
      this.#rows.push({ key, value: isPut ? value : undefined });
    }
    return { status, values };
  }

  #guard(body: () => number): number {
    if (this.#trap !== undefined) throw this.#trap;
    try {
      return body();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#trap = new ModuleTrap(
        `the shard module trapped (${reason}); this shard is unusable, restore another one`,
        { cause: error },
      );
      throw this.#trap;
    }
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false });

function name(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
