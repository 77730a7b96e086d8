// Replaces functions of the C library in a host, to show it a machine that cannot be had: a wrong
// clock, a lookup that hangs. Linux.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./left-open.ts";

/** Compiles C. Returns the environment with which a process uses it. */
export function shim(source: string): { LD_PRELOAD: string } {
  const folder = mkdtempSync(join(tmpdir(), "sidekick-shim-"));
  atEnd(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "shim.c"), `#define _GNU_SOURCE\n${source}`);
  const library = join(folder, "shim.so");
  execFileSync("cc", ["-shared", "-fPIC", "-o", library, join(folder, "shim.c")]);
  return { LD_PRELOAD: library };
}
