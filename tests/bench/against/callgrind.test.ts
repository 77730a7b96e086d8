// A process under valgrind that does not answer must not hang the bench.
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { control } from "./callgrind.ts";

const folder = mkdtempSync(join(tmpdir(), "sidekick-"));
after(() => rmSync(folder, { recursive: true }));
process.env["PATH"] = `${folder}:${process.env["PATH"]}`;

function answer(script: string): void {
  const command = join(folder, "callgrind_control");
  writeFileSync(command, `#!/bin/sh\n${script}\n`);
  chmodSync(command, 0o755);
}

test("a process that does not answer ends the bench with its number and what to do", async () => {
  answer("sleep 1000 & wait"); // as callgrind_control waits for vgdb, which holds the output open
  await assert.rejects(
    control(7, ["-z"], 1),
    /process 7 to "callgrind_control -z", received nothing for 1 s: .*ptrace.* Run the bench again/,
  );
});

test("other failures are reported as they are", async () => {
  answer("echo no such process >&2; exit 3");
  await assert.rejects(control(7, ["-z"]), /no such process/);
  answer("echo '   Th 1   12'");
  assert.match(await control(7, ["-s", "-e"]), /Th 1 {3}12/);
});
