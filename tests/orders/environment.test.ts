// What scripts/env.sh makes of the caller's environment, and what the scripts answer without doing
// anything. `tests/orders/run` runs whole scripts.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";

const root = resolve(".");
const folder = realpathSync(mkdtempSync(join(tmpdir(), "a caller ")));
after(() => rmSync(folder, { recursive: true }));

/** Runs a line of bash after `source env.sh`, in the caller's folder. */
function bash(line: string, env: Record<string, string>, script = `${root}/scripts/env.sh`) {
  const { WASMTIME_PREFIX: _, SIDEKICK_CACHE: __, ...rest } = process.env;
  const program = `set -euo pipefail; source '${script}'; ${line}`;
  return spawnSync("bash", ["-c", program], {
    cwd: script.startsWith("/") ? folder : root,
    env: { ...rest, ...env },
    encoding: "utf8",
  });
}

test("a relative SIDEKICK_CACHE is one folder for all scripts, whatever their own folder", () => {
  const inner = `bash -c 'cd / && source "$1/scripts/env.sh" && echo "$sidekick_cache"' bash`;
  const { stdout } = bash(`echo "$sidekick_cache"; ${inner} "$root"`, { SIDEKICK_CACHE: "my x" });
  assert.equal(stdout, `${folder}/my x\n${folder}/my x\n`);
});

test("a relative WASMTIME_PREFIX starts at the caller's folder", () => {
  const { stdout } = bash(`cd / && echo "$WASMTIME_PREFIX"`, { WASMTIME_PREFIX: "my/prefix" });
  assert.equal(stdout, `${folder}/my/prefix\n`);
});

test("CDPATH of the caller does not lead to another clone", () => {
  const { stdout, stderr } = bash(
    `echo "$root"`,
    { CDPATH: `${folder}:${root}` },
    "scripts/env.sh",
  );
  assert.equal(stdout + stderr, `${root}\n`);
});

test("a cache that cannot be written: the error names it and the setting", () => {
  const { status, stderr } = bash("lock_machine", { SIDEKICK_CACHE: "/dev/null/x" });
  assert.equal(status, 1);
  assert.match(stderr, /cannot write to the cache '\/dev\/null\/x': set SIDEKICK_CACHE/);
});

for (const name of ["bench", "build", "check", "run", "setup", "test", "tidy"]) {
  test(`scripts/${name} can be called through a symbolic link`, () => {
    const link = join(folder, name);
    symlinkSync(join(root, "scripts", name), link);
    const { status, stdout } = spawnSync(link, ["--help"], { encoding: "utf8" });
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^Usage:\\s+scripts/${name}\\b`));
  });
}

for (const [command, expected] of [
  [
    "setup nosuch",
    "setup: expected one of node check module native cluster bench all, got 'nosuch'",
  ],
  ["test --run", /^test: expected one of: check docs .*; got '--run'$/],
  ["test --run nosuch", /^test: expected one of: check docs .*; got '--run'$/],
] as const) {
  test(`scripts/${command} is a usage error that lists what is expected`, () => {
    const [name = "", ...words] = command.split(" ");
    const ran = spawnSync(join(root, "scripts", name), words, { encoding: "utf8" });
    assert.equal(ran.status, 2);
    const [line = ""] = ran.stderr.split("\n");
    if (typeof expected === "string") assert.equal(line, expected);
    else assert.match(line, expected);
  });
}
