// A recording, read without the code under test. Owns no expectation.
import { readFileSync } from "node:fs";

export interface Line {
  readonly in?: string;
  readonly out?: string;
  readonly [field: string]: unknown;
}

export interface Recording {
  readonly bytes: number;
  readonly lines: readonly Line[];
  /** Number of inputs by name. */
  readonly inputs: ReadonlyMap<string, number>;
  readonly hubs: number;
  readonly hashes: number;
}

export function readRecording(file: string): Recording {
  const whole = readFileSync(file);
  const lines = whole
    .toString()
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
  const inputs = new Map<string, number>();
  for (const { in: name } of lines)
    if (name !== undefined) inputs.set(name, (inputs.get(name) ?? 0) + 1);
  const having = (member: string) => lines.filter((line) => member in line).length;
  return { bytes: whole.byteLength, lines, inputs, hubs: having("trace"), hashes: having("hash") };
}

export function describeRecording({ bytes, lines, inputs, hubs, hashes }: Recording): string {
  const all = [...inputs.values()].reduce((sum, count) => sum + count, 0);
  const each = [...inputs]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${count} ${name}`);
  return (
    `${lines.length} lines, ${all} inputs, ${bytes} bytes, ${hubs} hubs, ${hashes} ` +
    `hashes; ${each.join(", ")}`
  );
}

/** The bytes in a field of a line. */
export function content(value: unknown): Buffer {
  return typeof value === "string"
    ? Buffer.from(value)
    : Buffer.from((value as { base64: string }).base64, "base64");
}
