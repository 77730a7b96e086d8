// Queries the native program `ion_check`, which contains both of our readers.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const program =
  process.env["ION_CHECK"] ??
  fileURLToPath(new URL("../../build/native/ion_check", import.meta.url));

export interface Answer {
  /** `accept` or `reject: why`: the reader of the hub. */
  core: string;
  /** The same for `ion::Value`. */
  value: string;
  /** The value as `ion::print` prints it; empty if it was rejected. */
  printed: string;
}

export function checkNatively(texts: readonly Uint8Array[]): Answer[] {
  if (!existsSync(program)) {
    throw new Error(
      `expected the program ion_check at ${program}, found nothing: run scripts/build, or ` +
        "set ION_CHECK to its path",
    );
  }
  const input = texts.map((text) => `${Buffer.from(text).toString("hex")}\n`).join("");
  const run = spawnSync(program, { input, maxBuffer: 2 ** 30 });
  if (run.status !== 0) {
    throw new Error(
      "expected ion_check to end with status 0, found " +
        `${run.status ?? run.signal ?? run.error}: ${run.stderr}`,
    );
  }
  const lines = run.stdout.toString("utf8").split("\n").slice(0, -1);
  if (lines.length !== texts.length) {
    throw new Error(`expected ${texts.length} answers from ion_check, found ${lines.length}`);
  }
  return lines.map((line) => {
    const [core = "", value = "", ...printed] = line.split("\t");
    return { core, value, printed: printed.join("\t") };
  });
}
