// worker/native/runtime/include/wasmtime.h declares the part of wasmtime's C API that the native
// server calls. Every declaration is compared with the bindings in the pinned wheel, which come
// from the official header of that library, and with the official header where there is one.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { python, root } from "./support.ts";

const program = (name: string) => execFileSync(`${root}build/native/${name}`, { encoding: "utf8" });
const major = (lines: string) => /^WASMTIME_VERSION_MAJOR is (\d+)$/m.exec(lines)?.[1];

test("our declarations of wasmtime's C API are those of the pinned wheel", () => {
  const ours = program("wasmtime-api");
  assert.ok(ours.split("\n").length > 40, ours);
  const theirs = execFileSync(python, [`${root}tests/module/wasmtime_api.py`], {
    encoding: "utf8",
    input: ours,
  });
  assert.equal(ours, theirs);
});

const official = `${root}build/native/wasmtime-api-official`;
const hasOfficial = existsSync(`${process.env["WASMTIME_PREFIX"]}/include/wasmtime.h`);
if (hasOfficial) {
  test("our declarations are those of the official header of the same version", (t) => {
    assert.ok(existsSync(official), "build it with scripts/build");
    const theirs = program("wasmtime-api-official");
    const ours = program("wasmtime-api");
    if (major(theirs) === major(ours)) assert.equal(ours, theirs);
    else t.diagnostic(`the server uses the official header, of wasmtime ${major(theirs)}`);
  });
}

test("one version of wasmtime is pinned for the server, the tests and the examples", () => {
  /** With the hashes of its wheels. */
  const pin = (file: string) =>
    /^wasmtime==\d+\.\d+\.\d+( \\\n +--hash=\S+)+$/m.exec(readFileSync(root + file, "utf8"))?.[0];
  const pinned = pin("worker/native/runtime/requirements.txt");
  assert.equal(pin("docs/examples/python/requirements.txt"), pinned);
  assert.equal(/==(\d+)/.exec(pinned ?? "")?.[1], major(program("wasmtime-api")));
});
