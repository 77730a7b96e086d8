// SIDEKICK_WASMTIME_LINKED needs more of WASMTIME_PREFIX than other builds do.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { root } from "./support.ts";

const prefix = mkdtempSync(join(tmpdir(), "sidekick-prefix-"));
after(() => rmSync(prefix, { recursive: true }));

/** CMake fails. Its error, in one line, includes the text. */
function assertSays(text: string): void {
  const flags = ["-B", join(prefix, "build"), "-D", "SIDEKICK_WASMTIME_LINKED=ON"];
  const env = { ...process.env, WASMTIME_PREFIX: prefix };
  const command = ["--preset", "native", ...flags];
  const { status, stderr } = spawnSync("cmake", command, { cwd: root, env, encoding: "utf8" });
  assert.equal(status, 1);
  const said = stderr.replace(/\s+/g, " ");
  assert.ok(said.includes(text), said);
}

test("CMake names what a prefix lacks for a build with wasmtime linked in", () => {
  const end = `in '${prefix}'; set WASMTIME_PREFIX to the folder of wasmtime's official C API`;
  const nothing = "SIDEKICK_WASMTIME_LINKED: no lib/libwasmtime.a and no include/wasmtime.h";
  assertSays(`${nothing} ${end}`);
  mkdirSync(join(prefix, "lib"));
  writeFileSync(join(prefix, "lib/libwasmtime.a"), "");
  assertSays(`SIDEKICK_WASMTIME_LINKED: no include/wasmtime.h ${end}`);
});
