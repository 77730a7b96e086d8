// Loads the Sidekick module and offers its hub to a host. Runs in Node, workerd and browsers, so it
// uses no Node API. It translates and decides nothing: the protocol is the module's.

import type { Action, HttpRequestInput, Input, Limits } from "./border.generated.js";
import { ABI_VERSION, decodeActions, encodeInput, LIMITS } from "./border.generated.js";
import { ActionReader, InputWriter } from "./memory.js";
import type { WasmMemory, WasmModule } from "./wasm.js";

/** How a host must handle a request whose body was not read yet. */
export interface Verdict {
  /** See VerdictKind and border.def. */
  readonly kind: number;
  /** Of a `body`. */
  readonly bodyBytesMax: number;
  /** Of a `socket`: the subprotocol to answer with, or "". */
  readonly protocol: string;
}

/** The format of new recordings. */
export const TRACE_FORMAT = 2;

/** The hub's interface for hosts. `Hub` implements it; tests may pass another implementation. */
export interface HubLike {
  readonly limits: Limits;
  describe(format?: number): Uint8Array;
  handle(now: number, input: Input): Action[];
  admit(request: HttpRequestInput): Verdict;
  record(on: boolean, format?: number): void;
  recorded(): Uint8Array;
  recordInput(now: number, input: Input): Uint8Array;
  metrics(): Uint8Array;
  readonly memoryBytes: number;
}

/**
 * The module failed a check or ran out of memory. The instance is unusable: drop the hub, create a
 * new one, restore it from the stored records, and do not replay the input.
 */
export class ModuleTrap extends Error {
  override readonly name = "ModuleTrap";
}

/** The configuration was rejected; the message says why. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

interface Exports {
  readonly memory: WasmMemory;
  _initialize?(): void;
  sidekick_abi_version(): number;
  sidekick_buffer(size: number): number;
  sidekick_create(size: number): number;
  sidekick_error(): number;
  sidekick_destroy(hub: number): void;
  sidekick_limits(hub: number): number;
  sidekick_describe(hub: number, format: number): number;
  sidekick_handle(hub: number, size: number): number;
  sidekick_admit(hub: number, size: number): number;
  sidekick_record(hub: number, format: number): void;
  sidekick_recorded(hub: number): number;
  sidekick_record_input(hub: number, size: number): number;
  sidekick_hash(hub: number): number;
  sidekick_metrics(hub: number): number;
}

/**
 * Checks that a compiled module is a Sidekick module without imports. A module without imports
 * cannot do I/O.
 * @param expected an export by which the module is recognized
 */
export function checkModule(module: WasmModule, expected = "sidekick_handle"): WasmModule {
  const imports = WebAssembly.Module.imports(module);
  if (imports.length > 0) {
    const names = imports.map((entry) => `${entry.module}.${entry.name}`).join(", ");
    throw new Error(
      `Sidekick module: expected no imports, found ${names}; load the file that ` +
        "scripts/build creates",
    );
  }
  if (!WebAssembly.Module.exports(module).some((entry) => entry.name === expected)) {
    throw new Error(
      `Sidekick module: the export ${expected} is missing; this is another WebAssembly file`,
    );
  }
  return module;
}

/**
 * Compiles and checks a module. In workerd, import the .wasm file instead, which gives a compiled
 * module.
 */
export async function compileModule(bytes: Uint8Array | ArrayBuffer): Promise<WasmModule> {
  return checkModule(await WebAssembly.compile(bytes as BufferSource));
}

/** Synchronous compileModule, for Node and for tests. */
export function compileModuleSync(bytes: Uint8Array | ArrayBuffer): WasmModule {
  // Called through `Reflect` because workerd's types, which also check this file, forbid compiling.
  return checkModule(Reflect.construct(WebAssembly.Module, [bytes]) as WasmModule);
}

/** One hub in its own instance, so that a trap affects no other hub. */
export class Hub implements HubLike {
  readonly limits: Limits;
  readonly #exports: Exports;
  readonly #writer: InputWriter;
  readonly #reader: ActionReader;
  readonly #hub: number;
  #trap: ModuleTrap | undefined;

  /**
   * @param config JSON or ION: an object with limits by name, `secrets` and `hash_seed`. The module
   *   checks it.
   * @throws ConfigError if the configuration is rejected
   */
  static create(module: WasmModule, config: string): Hub {
    return new Hub(module, config);
  }

  private constructor(module: WasmModule, config: string) {
    if (new Uint8Array(new Uint32Array([1]).buffer)[0] !== 1) {
      throw new Error(
        "Sidekick needs a little-endian machine: it views WebAssembly memory through typed arrays",
      );
    }
    const instance = new WebAssembly.Instance(checkModule(module), {});
    this.#exports = instance.exports as unknown as Exports;
    this.#exports._initialize?.();
    const version = this.#exports.sidekick_abi_version();
    if (version !== ABI_VERSION) {
      throw new Error(
        `Sidekick module: expected ABI version ${ABI_VERSION}, found ${version}; build host ` +
          "and module together",
      );
    }
    this.#writer = new InputWriter(this.#exports.memory, this.#exports.sidekick_buffer);
    this.#reader = new ActionReader(this.#exports.memory);
    this.#hub = this.#call(() => this.#exports.sidekick_create(this.#writer.texts(config)[0]!));
    if (this.#hub === 0) throw new ConfigError(text(this.#text(this.#exports.sidekick_error())));
    const words = this.#reader.at(this.#call(() => this.#exports.sidekick_limits(this.#hub)));
    const limits = Object.keys(LIMITS).map((name) => [name, words.u32()]);
    this.limits = Object.freeze(Object.fromEntries(limits) as Limits);
  }

  /**
   * Applies one input and returns its consequences, to be performed in list order. Bytes and ids in
   * the actions are views into the module's memory, valid until the next call on this hub.
   * @param now milliseconds since the Unix epoch
   * @throws ModuleTrap if the module trapped; the hub is then unusable
   */
  handle(now: number, input: Input): Action[] {
    if (this.#trap !== undefined) throw this.#trap;
    let address: number;
    try {
      address = this.#exports.sidekick_handle(this.#hub, encodeInput(this.#writer, now, input));
    } catch (error) {
      throw this.#trapped(error);
    }
    return decodeActions(this.#reader.at(address));
  }

  /**
   * Says how to handle a request. Call it before the body is read.
   * @param request the input as it will be passed on, without its body; `body_bytes`: the declared
   *   size, or 0
   */
  admit(request: HttpRequestInput): Verdict {
    const address = this.#call(() =>
      this.#exports.sidekick_admit(this.#hub, encodeInput(this.#writer, 0, request)),
    );
    const words = this.#reader.at(address);
    return { kind: words.u32(), bodyBytesMax: words.u32(), protocol: text(words.bytes()) };
  }

  /** The first line of this hub's trace, without its newline. A view. */
  describe(format = TRACE_FORMAT): Uint8Array {
    return this.#text(this.#call(() => this.#exports.sidekick_describe(this.#hub, format)));
  }

  /** While on, recorded() returns the trace lines of the latest input. */
  record(on: boolean, format = TRACE_FORMAT): void {
    this.#call(() => this.#exports.sidekick_record(this.#hub, on ? format : 0));
  }

  /**
   * The trace lines of the latest input and its actions, each with its newline. A view. This call
   * creates them: call it after performing the actions and before any other call on this hub.
   */
  recorded(): Uint8Array {
    return this.#text(this.#call(() => this.#exports.sidekick_recorded(this.#hub)));
  }

  /**
   * A trace line with the hash of the hub's state:
   * `{"hash":{"inputs":...,"lines":"...","state":"..."}}`, with its newline. Hubs with equal state
   * hashes hold the same state, on any host. While recording, the module adds such a line from time
   * to time. A view.
   */
  hash(): Uint8Array {
    return this.#text(this.#call(() => this.#exports.sidekick_hash(this.#hub)));
  }

  /**
   * The trace line of an input that is not applied: the input at which another hub trapped. A view.
   */
  recordInput(now: number, input: Input): Uint8Array {
    return this.#text(
      this.#call(() =>
        this.#exports.sidekick_record_input(this.#hub, encodeInput(this.#writer, now, input)),
      ),
    );
  }

  /**
   * The metrics of this hub in the text format of Prometheus: the answer to a request with the
   * verdict `metrics`, before the families of the host. Changes nothing. A view.
   */
  metrics(): Uint8Array {
    return this.#text(this.#call(() => this.#exports.sidekick_metrics(this.#hub)));
  }

  /** Size of the module's memory in bytes. It never shrinks. */
  get memoryBytes(): number {
    return this.#exports.memory.buffer.byteLength;
  }

  #call<T>(body: () => T): T {
    if (this.#trap !== undefined) throw this.#trap;
    try {
      return body();
    } catch (error) {
      throw this.#trapped(error);
    }
  }

  #trapped(error: unknown): ModuleTrap {
    const reason = error instanceof Error ? error.message : String(error);
    this.#trap = new ModuleTrap(
      `the Sidekick module trapped (${reason}); this hub is unusable, create a new one`,
      { cause: error },
    );
    return this.#trap;
  }

  #text(address: number): Uint8Array {
    return this.#reader.at(address).bytes();
  }
}

// ignoreBOM: a byte order mark is part of the content and must stay.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: false });

/** Decodes a byte field of an action. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
