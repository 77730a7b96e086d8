// Replays a trace: feeds its inputs to a fresh hub and demands the very same lines back. Owns no files: whoever has the
// trace hands its lines in, so that it runs wherever a module runs.
import { INPUT_FIELDS } from "./border.generated.js";
import type { Input } from "./border.generated.js";
import { Hub, ModuleTrap, text } from "./hub.js";

/** Where a replay first differs from its trace. Lines are numbered from 1; `undefined`: there is no such line. */
export interface Difference {
  readonly line: number;
  readonly expected: string | undefined;
  readonly actual: string | undefined;
}

const SECRET = "replay";
const encoder = new TextEncoder();

/**
 * Takes the lines of one trace file in order. A trace may hold several recordings, each opened by its own first line: a host
 * that restarted, or had to make a new hub, goes on in the same file.
 */
export class Replayer {
  readonly #module: WebAssembly.Module;
  #hub: Hub | undefined;
  #line = 0;
  #inputs = 0;
  #pending: string[] = [];
  #trapLine = 0; // of the latest input

  constructor(module: WebAssembly.Module) {
    this.#module = module;
  }

  /** How many inputs were replayed so far. */
  get inputs(): number {
    return this.#inputs;
  }

  /**
   * Checks one line, without its newline. Returns the first difference, after which the replayer is of no further use.
   * @throws Error when the line is not a line of a trace.
   */
  line(bytes: Uint8Array): Difference | undefined {
    this.#line++;
    const line = text(bytes);
    const parsed = this.#parse(line);
    if ("out" in parsed) return this.#compare(line);
    // An input without actions, and then another recording: there the recording hub trapped.
    if ("trace" in parsed && this.#trapLine === this.#line - 1) this.#pending = [];
    const missing = this.end();
    if (missing !== undefined) return missing;
    if ("hash" in parsed && this.#hub !== undefined) {
      this.#pending = [text(this.#hub.hash()).trimEnd()];
      return this.#compare(line);
    }
    if ("trace" in parsed) {
      this.#open(parsed);
      return undefined;
    }
    if (this.#hub === undefined) throw this.#error("expected the first line of a trace, {\"trace\":1,...}", line);
    this.#inputs++;
    this.#trapLine = this.#line;
    try {
      this.#hub.handle(number(parsed["now"]), this.#input(parsed));
    } catch (error) {
      if (!(error instanceof ModuleTrap)) throw error;
      this.#pending = [`(${error.message})`]; // a difference, unless the recording hub trapped as well
      return undefined;
    }
    // Hashes are compared where the trace has them: after how many inputs that is, is not part of what a hub does.
    this.#pending = text(this.#hub.recorded()).split("\n").filter((said) => said !== "" && !said.startsWith('{"hash"'));
    return this.#compare(line);
  }

  /** To be called after the last line: the hub may have had more to say. */
  end(): Difference | undefined {
    const actual = this.#pending.shift();
    return actual === undefined ? undefined : { line: this.#line + 1, expected: undefined, actual };
  }

  #compare(expected: string): Difference | undefined {
    const actual = this.#pending.shift();
    return actual === expected ? undefined : { line: this.#line, expected, actual };
  }

  #open(header: Record<string, unknown>): void {
    if (header["trace"] !== 1) throw this.#error("expected trace format 1", JSON.stringify(header["trace"]));
    const config = { ...(header["config"] as object), hash_seed: header["hash_seed"], secrets: [SECRET] };
    this.#hub = Hub.create(this.#module, JSON.stringify(config));
    this.#hub.record(true);
  }

  #input(line: Record<string, unknown>): Input {
    const type = line["in"] as Input["type"];
    const fields = INPUT_FIELDS[type];
    if (fields === undefined) throw this.#error("expected the name of an input", JSON.stringify(type));
    const input: Record<string, unknown> = { type };
    for (const [name, kind] of fields) {
      if (type === "http_request" && name === "authorization") {
        const authorized = line["authorized"];
        input[name] = authorized === true ? `Bearer ${SECRET}` : authorized === false ? "Bearer another" : "";
      } else {
        input[name] = kind === "bytes" ? this.#bytes(name, line[name]) : number(line[name]);
      }
    }
    return input as unknown as Input;
  }

  /** Valid UTF-8 stands as a JSON string, everything else as {"base64":"..."}. */
  #bytes(name: string, value: unknown): Uint8Array {
    if (typeof value === "string") return encoder.encode(value);
    const base64 = (value as { base64?: unknown } | undefined)?.base64;
    if (typeof base64 !== "string") throw this.#error(`expected bytes in "${name}"`, JSON.stringify(value));
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  #parse(line: string): Record<string, unknown> {
    try {
      return JSON.parse(line) as Record<string, unknown>;
    } catch {
      throw this.#error("expected a JSON object", line);
    }
  }

  #error(expected: string, found: string | undefined): Error {
    return new Error(`trace line ${this.#line}: ${expected}, found ${(found ?? "nothing").slice(0, 200)}`);
  }
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
