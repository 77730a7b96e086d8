// Replays a trace: passes its inputs to a fresh hub and requires the same lines back. It reads no
// files: the caller passes the lines, so it runs wherever a module runs.

import type { FieldKind, Input } from "./border.generated.js";
import { INPUT_FIELDS, Outcome } from "./border.generated.js";
import { ConfigError, Hub, ModuleTrap, TRACE_FORMAT, text } from "./hub.js";
import { printable } from "./printable.js";
import type { WasmModule } from "./wasm.js";

/**
 * Where a replay first differs from its trace. Lines are numbered from 1; `undefined` means that
 * there is no such line.
 */
export interface Difference {
  readonly line: number;
  readonly expected: string | undefined;
  readonly actual: string | undefined;
}

/**
 * Where a recording was cut off: its last line, which may be incomplete, and how many more lines
 * its last input would have.
 */
export interface Cut {
  readonly line: number;
  readonly linesDue: number;
}

/** Lines that a live recording lacks, since its reader was too slow: after this line, so many. */
export interface Gap {
  readonly line: number;
  readonly lines: number;
}

const SECRET = "replay";
const FIRST_LINE = 'expected the first line of a trace, {"trace":2,...}';
/** Far above the depth of any real line; JSON.stringify is recursive. */
const LINE_DEPTH_MAX = 64;
const NOTHING = new Uint8Array(0);
const encoder = new TextEncoder();

/**
 * Takes the lines of one trace file in order. A file may hold several recordings, each with its own
 * header line: a host that restarted or replaced its hub continues in the same file.
 */
export class Replayer {
  readonly #module: WasmModule;
  #hub: Hub | undefined;
  #line = 0;
  #inputs = 0;
  #pending: string[] = [];
  #inputLine = 0; // of the latest input
  #hasTrapped = false; // at that line
  #format = TRACE_FORMAT;
  #changedTexts = 0;
  readonly #cuts: Cut[] = [];
  readonly #gaps: Gap[] = [];
  /** The previous line is a gap: another recording starts after it. */
  #isAfterGap = false;
  /**
   * The previous line if it was not a trace line: acceptable only if another recording starts after
   * it.
   */
  #torn: string | undefined;

  constructor(module: WasmModule) {
    this.#module = module;
  }

  /** Number of inputs replayed so far. */
  get inputs(): number {
    return this.#inputs;
  }

  /** Number of error texts so far that are worded otherwise since format 1 of traces. */
  get changedTexts(): number {
    return this.#changedTexts;
  }

  /** The recordings so far whose end is missing. For the last one this is known after `end`. */
  get cuts(): readonly Cut[] {
    return this.#cuts;
  }

  /** The gaps so far. */
  get gaps(): readonly Gap[] {
    return this.#gaps;
  }

  /** Number of lines that the latest input still has in the replay. */
  get linesDue(): number {
    return this.#pending.length;
  }

  /** The answer to GET /metrics after the lines so far, without the families of a host. */
  metrics(): string {
    return this.#hub === undefined ? "" : text(this.#hub.metrics());
  }

  /**
   * Goes on after a difference: drops what the latest input still has, in the replay and as many
   * lines of the trace.
   */
  skip(lines: number): void {
    this.#pending = [];
    this.#line += lines;
  }

  /**
   * Checks one line, without its newline. Returns the first difference; `skip` goes on after it.
   * @throws Error if the line is not a trace line
   */
  line(bytes: Uint8Array): Difference | undefined {
    this.#line++;
    const line = text(bytes);
    const wrong = wrongWith(line);
    if (wrong !== undefined) throw new Error(`trace line ${this.#line}: ${wrong}`);
    const parsed = objectOf(line);
    if (this.#isAfterGap && !("trace" in (parsed ?? {}))) throw this.#error(FIRST_LINE, line);
    if (this.#isTorn(line, parsed)) return undefined;
    if (parsed === undefined) throw this.#error("expected a JSON object", line);
    if ("trace" in parsed) {
      // A recording that ends with an input and no actions ends with a trap. Any other incomplete
      // recording comes from a host that was killed.
      this.#endRecording(
        this.#line - 1,
        this.#pending.length > 0 && this.#inputLine !== this.#line - 1,
      );
      this.#open(parsed);
      return undefined;
    }
    if ("out" in parsed) return this.#compare(line);
    if (this.#pending.length > 0)
      return { line: this.#line, expected: undefined, actual: this.#pending[0] };
    if ("hash" in parsed && this.#hub !== undefined) {
      this.#pending = [text(this.#hub.hash()).trimEnd()];
      return this.#compare(line);
    }
    if (this.#hub === undefined) throw this.#error(FIRST_LINE, line);
    if ("gap" in parsed) {
      const lines = parsed["gap"];
      if (!Number.isSafeInteger(lines) || (lines as number) < 0)
        throw this.#error('expected a number of lines in "gap"', line);
      this.#gaps.push({ line: this.#line - 1, lines: lines as number });
      this.#isAfterGap = true;
      return undefined;
    }
    this.#inputs++;
    this.#inputLine = this.#line;
    try {
      this.#hub.handle(number(parsed["now"]), this.#input(parsed));
    } catch (error) {
      if (!(error instanceof ModuleTrap)) throw error;
      this.#hasTrapped = true;
      // a difference, unless the recorded hub trapped as well
      this.#pending = [`(${error.message})`];
      return undefined;
    }
    // Hashes are compared where the trace has them; when they are written is not part of a hub's
    // behaviour.
    this.#pending = text(this.#hub.recorded())
      .split("\n")
      .filter((said) => said !== "" && !said.startsWith('{"hash"'));
    return this.#compare(line);
  }

  /**
   * Call this after the last line. A recording may be cut off anywhere, within a line or between
   * two; its existing part must still be equal.
   * @param rest the text after the last newline; it counts as a line if it is complete
   * @throws Error if there is no recording, not even a header line
   */
  end(rest: Uint8Array = NOTHING): Difference | undefined {
    const isWhole =
      rest.byteLength > 0 && (this.#hub === undefined || objectOf(text(rest)) !== undefined);
    const difference = isWhole ? this.line(rest) : undefined;
    if (difference !== undefined) return difference;
    if (this.#hub === undefined) throw this.#error(FIRST_LINE, undefined);
    if (rest.byteLength > 0 && !isWhole) this.#line++;
    if (this.#hasTrapped)
      return { line: this.#line + 1, expected: undefined, actual: this.#pending[0] };
    this.#endRecording(this.#line, rest.byteLength > 0 || this.#pending.length > 0);
    return undefined;
  }

  /**
   * A killed host leaves half a line at the end of the file, or followed by its successor's
   * recording in the next line.
   */
  #isTorn(line: string, parsed: Record<string, unknown> | undefined): boolean {
    const isTorn = parsed === undefined && this.#hub !== undefined && this.#torn === undefined;
    if (isTorn) {
      this.#torn = line;
    } else if (this.#torn !== undefined && (parsed === undefined || !("trace" in parsed))) {
      this.#line--;
      throw this.#error("expected a JSON object", this.#torn);
    }
    return isTorn;
  }

  #endRecording(line: number, isCut: boolean): void {
    if (isCut || this.#torn !== undefined)
      this.#cuts.push({ line, linesDue: this.#pending.length });
    this.#pending = [];
    this.#torn = undefined;
  }

  #compare(expected: string): Difference | undefined {
    const actual = this.#pending.shift();
    if (actual === expected) return undefined;
    const change = this.#format === 1 ? changeSince1(expected, actual) : undefined;
    if (change === undefined) return { line: this.#line, expected, actual };
    if (change === "error text") this.#changedTexts++;
    return undefined;
  }

  #open(header: Record<string, unknown>): void {
    if (header["trace"] !== 1 && header["trace"] !== TRACE_FORMAT)
      throw this.#error("expected trace format 1 or 2", JSON.stringify(header["trace"]));
    this.#format = header["trace"] as number;
    const { config: settings, hash_seed } = header;
    if (typeof settings !== "object" || settings === null || Array.isArray(settings))
      throw this.#error('expected "config", an object', JSON.stringify(settings));
    this.#isAfterGap = false;
    this.#hub = this.#create({ ...settings, hash_seed, secrets: [SECRET] });
    this.#hub.record(true, this.#format);
    this.#hasTrapped = false;
  }

  #create(config: object): Hub {
    try {
      return Hub.create(this.#module, JSON.stringify(config));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const wrong = printable(error.message);
      throw new Error(
        `trace line ${this.#line}: expected a configuration of this version (${wrong})`,
      );
    }
  }

  #input(line: Record<string, unknown>): Input {
    const type = line["in"] as Input["type"];
    if (!Object.hasOwn(INPUT_FIELDS, type))
      throw this.#error("expected the name of an input", JSON.stringify(type));
    const fields = INPUT_FIELDS[type];
    const input: Record<string, unknown> = { type };
    for (const [name, kind, since] of fields) {
      if (since > this.#format) {
        input[name] = kind === "bytes" ? "" : 0;
      } else if (type === "http_request" && name === "authorization") {
        const authorized = line["authorized"];
        input[name] =
          authorized === true ? `Bearer ${SECRET}` : authorized === false ? "Bearer another" : "";
      } else {
        input[name] = this.#value(name, kind, line[name]);
      }
    }
    // Format 1 had no outcome, and status 0 for every forward without an answer.
    if (this.#format === 1 && type === "forward_done" && input["status"] === 0)
      input["outcome"] = Outcome.broken_off;
    return input as unknown as Input;
  }

  #value(name: string, kind: FieldKind, value: unknown): unknown {
    if (kind === "bytes") return this.#bytes(name, value);
    if (kind !== "list") return number(value);
    if (!Array.isArray(value))
      throw this.#error(`expected an array in "${name}"`, JSON.stringify(value));
    return value.map((element) => this.#bytes(name, element));
  }

  /** Valid UTF-8 is a JSON string; anything else is {"base64":"..."}. */
  #bytes(name: string, value: unknown): Uint8Array {
    if (typeof value === "string") return encoder.encode(value);
    const base64 = (value as { base64?: unknown } | undefined)?.base64;
    if (typeof base64 !== "string")
      throw this.#error(`expected bytes in "${name}"`, JSON.stringify(value));
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  }

  #error(expected: string, found: string | undefined): Error {
    return new Error(
      `trace line ${this.#line}: ${expected}, found ` +
        `${printable((found ?? "nothing").slice(0, 200))}`,
    );
  }
}

/**
 * The known differences between this hub and the one that made a recording of format 1: error
 * texts, which the hash of the lines shows, too. Undefined: this is no known change. The same as
 * core/src/trace/format_1.cpp.
 */
function changeSince1(
  recorded: string,
  now: string | undefined,
): "error text" | "hash of lines" | undefined {
  const before = objectOf(recorded);
  const after = objectOf(now ?? "");
  if (before === undefined || after === undefined) return undefined;
  const isHash = "hash" in before && "hash" in after;
  const areComparable = isHash
    ? removeMember(before["hash"], "lines") && removeMember(after["hash"], "lines")
    : removeErrorText(before) && removeErrorText(after);
  if (!areComparable || JSON.stringify(before) !== JSON.stringify(after)) return undefined;
  return isHash ? "hash of lines" : "error text";
}

/** Removes the wording of an error from an action. Returns false if it tells none. */
function removeErrorText(action: Record<string, unknown>): boolean {
  switch (action["out"]) {
    case "send": {
      const message = objectOf(String(action["text"]));
      if (!removeMember(message?.["error"], "message")) return false;
      action["text"] = message;
      return true;
    }
    case "respond":
      return Number(action["status"]) >= 400 && removeMember(action, "body");
    case "close":
      return removeMember(action, "reason");
    default:
      return false;
  }
}

function removeMember(from: unknown, name: string): boolean {
  if (typeof from !== "object" || from === null || !(name in from)) return false;
  return Reflect.deleteProperty(from, name);
}

/** The same as in worker/trace/replay_files.cpp. */
export function gapText(lines: number): string {
  return `a gap: ${lines} lines are missing after this one; another recording follows`;
}

/** Checks a line before it is parsed. Returns what was expected and what came, or nothing. */
function wrongWith(line: string): string | undefined {
  if (line.endsWith("\r"))
    return (
      "expected a line that ends with \\n, found \\r\\n: the line endings were converted; " +
      "transfer the file in binary mode"
    );
  let depth = 0;
  for (let at = 0; at < line.length; at++) {
    const character = line[at];
    if (character === '"') {
      for (at++; at < line.length && line[at] !== '"'; at++) if (line[at] === "\\") at++;
    } else if (character === "{" || character === "[") {
      if (++depth > LINE_DEPTH_MAX)
        return `expected JSON of at most ${LINE_DEPTH_MAX} levels, found more`;
    } else if (character === "}" || character === "]") {
      depth--;
    }
  }
  return undefined;
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function objectOf(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
